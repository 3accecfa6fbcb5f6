"""The classic protocol of SlapOS, the "slap tool": orders, supplies, and what clients, nodes and partitions are told.

A thin façade over the services of /api/v1, at the paths that unmodified clients, nodes and recipes use. What nodes say of
themselves is in reports.py.
"""

import asyncio

from fastapi import APIRouter, FastAPI, Request, Response

from slap.master import computer
from slap.master.access.auth import Caller, CallerKind
from slap.master.api.call import Call, Called, CalledForPartition
from slap.master.service import supply, tree
from slap.master.service.impersonation import as_computer, as_partition
from slap.master.slapos.status_text import computer_news, instance_news
from slap.master.slaptool import reports
from slap.master.slaptool.forms import Fields, Form, Query, TextRoute, marshalled, text, told_again
from slap.master.slaptool.objects import (
    Slot,
    computer_object,
    instance_object,
    nothing_object,
    partition_object,
)
from slap.master.slaptool.queries import addresses_of_tree, answer_beside, visible_slot, whole_computer
from slap.master.slaptool.requests import order_of, supply_of
from slap.model.computer import ComputerRegistration
from slap.model.errors import InvalidInput, NotFound, NotReady
from slap.model.instance import Instance
from slap.model.serialisation import Serialisation
from slap.model.state import InstanceState
from slap.system.marshal import SlapObject

router = APIRouter(route_class=TextRoute, include_in_schema=False)


def install(app: FastAPI) -> None:
    """Have an application answer the classic protocol."""
    routes = (*router.routes, *reports.router.routes)
    paths = [route.path for route in routes if isinstance(route, TextRoute) and route.methods == {"POST"}]
    app.include_router(router)
    app.include_router(reports.router)
    for path in paths:
        app.add_api_route(path, told_again, methods=["GET"], include_in_schema=False)


# Routes are tried one after the other: those that are asked most come first.
@router.post("/requestComputerPartition")
async def request_partition(call: CalledForPartition, asked: Form) -> Response:
    requester = await _requester(call, asked)
    order = await asyncio.to_thread(order_of, asked) if asked.is_large else order_of(asked)
    try:
        return marshalled(await _answered(call, await call.services.orders.request(requester, order)))
    except NotFound:
        # Profiles keep asking that something they no longer need be destroyed, whether or not it ever was.
        if requester.kind is CallerKind.PARTITION and order.state is InstanceState.DESTROYED:
            return marshalled(nothing_object())
        raise


async def _requester(call: Call, asked: Fields) -> Caller:
    """Who orders: the instance in the partition that is named, or who calls."""
    guid, name = asked.get("computer_id"), asked.get("computer_partition_id")
    return await as_partition(call.store, call.caller, guid, name) if guid and name else call.caller


async def _answered(call: Call, got: Instance) -> SlapObject:
    if not got.partition:
        raise NotReady(f"{got.reference} waits for an instance that serves it.", got.message, "Ask again later.")
    if got.placed_by:
        return instance_object(got, Slot(got.computer, got.partition, got.addresses), Serialisation.NONE)
    slot, declared = await call.store.read(lambda connection: answer_beside(connection, got))
    return instance_object(got, slot, declared)


@router.get("/registerComputerPartition")
async def register_partition(call: CalledForPartition, asked: Query) -> Response:
    guid, name = asked["computer_reference"], asked["computer_partition_reference"]
    caller = call.caller
    if caller.kind is CallerKind.NEIGHBOUR:
        caller = await as_partition(call.store, caller, guid, name)
    return marshalled(partition_object(await call.store.read(lambda c: visible_slot(c, caller, guid, name))))


@router.get("/getFullComputerInformation")
@router.get("/getComputerInformation")
async def full_information(call: Called, asked: Query, request: Request) -> Response:
    """All of a computer. What its node reports from now on is about this."""
    served = request.app.state.served
    node = await as_computer(call.store, call.caller, asked["computer_id"])
    latest = await served.latest(node.subject)
    # It was seen, whatever there is to be told.
    await call.services.states.desired_state(node, node.subject, latest, 0)
    document = await call.store.read_much(lambda connection: whole_computer(connection, node.subject))
    await served.note(node.subject, latest)
    return await call.services.paged.response(request, call.store, node.owner, document)


@router.post("/supplySupply")
async def supply_release(call: Called, asked: Form) -> Response:
    wanted = supply_of(asked)
    # A client that is told 404 says that there is no such computer, so that is all that may be called so.
    await as_computer(call.store, call.caller, wanted.computer)
    try:
        done = await supply.request_supply(call.store, call.caller, wanted, call.read_release)
    except NotFound as error:
        raise InvalidInput(error.brief, error.details, error.resolution) from error
    return text(f"Supplied {done.url} to be {done.requested}.")


@router.get("/getHateoasUrl")
async def hateoas_url(request: Request) -> Response:
    return text(f"{request.base_url}hateoas")


@router.get("/getHostingSubscriptionIpList")
async def addresses(call: CalledForPartition, asked: Query) -> Response:
    inside = await as_partition(call.store, call.caller, asked["computer_id"], asked["computer_partition_id"])
    return marshalled(await call.store.read_much(lambda connection: addresses_of_tree(connection, inside.root)))


@router.get("/getComputerStatus")
async def computer_status(call: Called, asked: Query) -> Response:
    return marshalled(computer_news(await computer.show(call.store, call.caller, asked["computer_id"])))


@router.get("/getComputerPartitionStatus")
async def partition_status(call: CalledForPartition, asked: Query) -> Response:
    inside = await as_partition(call.store, call.caller, asked["computer_id"], asked["computer_partition_id"])
    return marshalled(instance_news(await tree.show(call.store, inside, inside.subject)))


@router.get("/getComputerPartitionCertificate")
async def partition_certificate(call: CalledForPartition, asked: Query) -> Response:
    inside = await as_partition(call.store, call.caller, asked["computer_id"], asked["computer_partition_id"])
    return marshalled((await call.services.certificates.partition_key_pair(inside)).model_dump())


@router.post("/generateComputerCertificate")
async def computer_certificate(call: Called, asked: Form) -> Response:
    pair = await call.services.certificates.computer_key_pair(call.caller, asked["computer_id"])
    return marshalled(pair.model_dump())


@router.post("/revokeComputerCertificate")
async def revoke_certificate(call: Called, asked: Form) -> Response:
    await call.services.certificates.revoke_computer(call.caller, asked["computer_id"])
    return text("Revoked.")


@router.post("/requestComputer")
async def request_computer(call: Called, asked: Form) -> Response:
    """The computer of a title, registered if there is none."""
    title = asked["computer_title"]
    try:
        guid = (await as_computer(call.store, call.caller, title)).subject
    except NotFound:
        guid = (await computer.register(call.store, call.caller, ComputerRegistration(title=title))).guid
    return marshalled(computer_object(guid, [], []))


@router.get("/getSoftwareReleaseListFromSoftwareProduct")
async def releases_of_product(call: Called, asked: Query) -> Response:
    """The release that the configuration names so; or else the supplied ones whose folder or title is the name of the
    product, later ones first.
    """
    product = asked.get("software_product_reference") or _folder(asked["software_release_url"])
    if product in call.services.products:
        return marshalled([call.services.products[product]])
    found = await supply.releases(call.store, call.caller)
    urls = (each.url for each in found if product.lower() in (_folder(each.url).lower(), each.title.lower()))
    return marshalled(sorted(urls, reverse=True))


def _folder(url: str) -> str:
    """The folder of a profile, which SlapOS names after the product."""
    return url.rpartition("/")[0].rpartition("/")[2]
