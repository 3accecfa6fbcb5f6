"""Routes by which nodes and users get certificates, those of SlapOS's old registration among them."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Header, Request, Response
from pydantic import BaseModel, TypeAdapter, ValidationError

from slap.master.api.call import Called, Services
from slap.model.base import Name
from slap.model.certificate import (
    Authority,
    CertificateRequest,
    IssuedCertificate,
    NodeRegistration,
    RegisteredNode,
    RegistrationToken,
    RegistrationTokenRequest,
)
from slap.model.errors import Conflict, Forbidden, InvalidInput, SlapError, Unauthenticated

_router = APIRouter(prefix="/api/v1")
_old = APIRouter(include_in_schema=False)

_NAME: TypeAdapter[str] = TypeAdapter(Name)
AccessToken = Annotated[str, Header(alias="X-Access-Token", max_length=300)]


def install(app: FastAPI) -> None:
    app.include_router(_router)
    app.include_router(_old)


@_router.get("/authority", response_model=Authority)
async def authority(request: Request) -> Response:
    """Whom to trust: for everybody, who compares the fingerprint with one that came another way."""
    found = await _services(request).certificates.authority()
    return _document(Authority(certificate=found.certificate, fingerprint=found.fingerprint))


@_router.get("/authority/revocations")
async def revocations(request: Request) -> Response:
    """The signed list of revoked certificates, an X.509 CRL in PEM: for everybody, as its signature proves it."""
    found = await _services(request).certificates.revocation_lists.get()
    return Response(found, media_type="application/x-pem-file", headers={"Cache-Control": "max-age=5"})


@_router.post("/registration-tokens", response_model=RegistrationToken)
async def new_registration_token(call: Called, wanted: RegistrationTokenRequest) -> Response:
    return _document(await call.services.registrations.new_token(call.caller, wanted))


@_router.post("/registrations", response_model=RegisteredNode)
async def register_node(request: Request, wanted: NodeRegistration) -> Response:
    """Who has a one-time token needs nothing else."""
    return _document(await _services(request).registrations.register(wanted))


@_router.post("/certificates", response_model=IssuedCertificate)
async def new_certificate(call: Called, wanted: CertificateRequest) -> Response:
    return _document(await call.services.certificates.sign(call.caller, wanted))


@_old.post("/Person_requestComputer")
async def register_old_node(request: Request, token: AccessToken = "") -> Response:
    try:
        title = _title(await request.body())
        return _document(await _services(request).registrations.key_pair(token, title))
    except Conflict as error:
        # By these words SlapOS's command tells a name that is taken from a master that failed.
        return Response(f"Certificate still active.\n{error}", 409, media_type="text/plain")
    except SlapError as error:
        return _refused(error)


@_old.post("/Person_getCertificate")
async def give_user_certificate(request: Request, token: AccessToken = "") -> Response:
    services = _services(request)
    try:
        caller = await services.guard.caller(f"Bearer {token}")
        return _document(await services.certificates.user_key_pair(caller))
    except (Forbidden, Unauthenticated) as error:
        return _refused(error)


def _title(form: bytes) -> str:
    title = parse_qs(form.decode(errors="replace")).get("title", [""])[0]
    try:
        return _NAME.validate_python(title)
    except ValidationError as error:
        raise InvalidInput(f"{title[:200]!r} is not a name of a computer.", error.errors()[0]["msg"]) from error


def _refused(error: SlapError) -> Response:
    """SlapOS's commands know of no other refusal than 403."""
    return Response(str(error), 403 if error.http_status < 500 else error.http_status, media_type="text/plain")


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _document(document: BaseModel) -> Response:
    return Response(document.model_dump_json(), media_type="application/json")
