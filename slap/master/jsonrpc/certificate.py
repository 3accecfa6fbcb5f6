"""The JSON-RPC methods that give and end certificates."""

from slap.master.jsonrpc.call import Document, Method, RpcCall, done
from slap.master.jsonrpc.schema import OfComputer, OfInstance
from slap.master.service.impersonation import as_itself
from slap.model.certificate import KeyPair


async def of_computer(call: RpcCall, asked: OfComputer) -> Document:
    return _pair(await call.services.certificates.computer_key_pair(call.caller, asked.computer_guid))


async def revoke(call: RpcCall, asked: OfComputer) -> Document:
    await call.services.certificates.revoke_computer(call.caller, asked.computer_guid)
    return done("Certificate revoked")


async def of_instance(call: RpcCall, asked: OfInstance) -> Document:
    inside = await call.store.read(lambda connection: as_itself(connection, call.caller, asked.instance_guid))
    return _pair(await call.services.certificates.partition_key_pair(inside))


def _pair(pair: KeyPair) -> Document:
    return {"key": pair.key, "certificate": pair.certificate}


METHODS = {
    "slapos.get.v0.software_instance_certificate": Method(OfInstance, of_instance),
    "slapos.post.v0.compute_node_certificate": Method(OfComputer, of_computer),
    "slapos.remove.v0.compute_node_certificate": Method(OfComputer, revoke),
}
