"""What HATEOAS shows: rows of searches, and documents as forms of which clients read the fields `my_*`."""

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from slap.master.hateoas.query import Kind
from slap.master.service.tree import InstanceName
from slap.master.slapos.status_text import News, computer_news, instance_news, supply_news
from slap.model.computer import Computer
from slap.model.instance import Instance, InstanceTree
from slap.model.software import Supply, software_id
from slap.model.values import Parameters

Row = dict[str, Any]
Document = dict[str, Any]

TREES, COMPUTERS, INSTANCES = "instance_tree_module", "compute_node_module", "software_instance_module"
_SUPPLIES, PERSONS = "software_installation_module", "person_module"
# What no XML may contain.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What a reader of XML would take for a line end of another kind.
_KEPT = {"\r": "&#13;"}


def tree_row(root: InstanceName) -> Row:
    return {
        "uid": root.guid,
        "title": root.reference,
        "reference": root.guid,
        "relative_url": f"{TREES}/{root.guid}",
        "portal_type": Kind.TREE.value,
        "url_string": root.software_release,
    }


def computer_row(computer: Computer) -> Row:
    return {
        "uid": computer.guid,
        "title": computer.title,
        "reference": computer.guid,
        "relative_url": f"{COMPUTERS}/{computer.guid}",
        "portal_type": Kind.COMPUTER.value,
    }


def instance_row(instance: Instance) -> Row:
    return {
        "uid": instance.guid,
        "title": instance.reference,
        "reference": instance.guid,
        "relative_url": f"{INSTANCES}/{instance.guid}",
        "portal_type": _portal_type(instance),
        "url_string": instance.software_release,
        "text_content": parameters_xml(instance.parameters),
        "getConnectionXmlAsDict": instance.connection,
        "SoftwareInstance_getNewsDict": instance_news(instance),
    }


def supply_row(supply: Supply) -> Row:
    name = f"{supply.computer}-{software_id(supply.url)}"
    return {
        "uid": name,
        "relative_url": f"{_SUPPLIES}/{name}",
        "portal_type": Kind.SUPPLY.value,
        "url_string": supply.url,
        "SoftwareInstallation_getNewsDict": supply_news(supply),
    }


def tree_document(tree: InstanceTree) -> Document:
    """A whole tree, as its root is; the news are those of all its instances."""
    news = {"instance": [{**instance_news(each), "title": each.reference} for each in tree.instances]}
    return _form(Kind.TREE, "InstanceTree_viewAsHateoas", {**_fields(tree.root), "news": news})


def instance_document(instance: Instance) -> Document:
    fields = {**_fields(instance), "news": {"instance": [instance_news(instance)]}}
    return _form(_portal_type(instance), "SoftwareInstance_viewAsHateoas", fields)


def computer_document(computer: Computer, partitions: dict[str, News]) -> Document:
    """A computer, with the news of what is in its partitions by their names."""
    news = {"computer": computer_news(computer), "partition": partitions}
    fields = {"reference": computer.guid, "title": computer.title, "news": news}
    return _form(Kind.COMPUTER, "ComputeNode_viewAsHateoas", fields)


def person_document(name: str) -> Document:
    return _form("Person", "Person_viewAsHateoas", {"reference": name, "title": name})


def parameters_xml(parameters: Parameters) -> str:
    """Parameters in the XML of SlapOS, where all values are strings."""
    lines = [
        f"  <parameter id={quoteattr(_speakable(name))}>{escape(_speakable(str(value)), _KEPT)}</parameter>\n"
        for name, value in sorted(parameters.items())
    ]
    return f"<?xml version='1.0' encoding='utf-8'?>\n<instance>\n{''.join(lines)}</instance>\n"


def _fields(instance: Instance) -> Row:
    connection = [{"connection_key": name, "connection_value": value} for name, value in instance.connection.items()]
    return {
        "title": instance.reference,
        "reference": instance.guid,
        "slap_state": instance.requested.value,
        "text_content": parameters_xml(instance.parameters),
        "connection_parameter_list": connection,
        "url_string": instance.software_release,
        "source_reference": instance.software_type,
        "root_slave": int(instance.shared),
    }


def _portal_type(instance: Instance) -> str:
    return "Slave Instance" if instance.shared else Kind.INSTANCE.value


def _form(portal_type: str, form: str, fields: Row) -> Document:
    """A document as a form, of which clients take the fields of the types that they know."""
    view = {f"my_{name}": _field(f"field_my_{name}", value) for name, value in fields.items()}
    return {
        "_embedded": {"_view": {"form_id": _field("form_id", form), **view}},
        "_links": {"type": {"name": portal_type}},
    }


def _field(key: str, value: Any) -> Row:
    return {"type": "IntegerField" if isinstance(value, int) else "StringField", "key": key, "default": value}


def _speakable(words: str) -> str:
    return _UNSPEAKABLE.sub("\ufffd", words)
