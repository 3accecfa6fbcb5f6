"""The marshalled XML in which the classic protocol of SlapOS carries values and a few kinds of objects.

    <marshal><dictionary><string>port</string><int>80</int></dictionary></marshal>

Strings are escaped twice, once by the format and once as XML. A list, dictionary or object that has an `id` may be
meant again by a <reference>: `loads` reads those, and `dumps` never writes them.
"""

from slap.model.slapos.object import SlapObject
from slap.system.marshal.read import LARGEST, loads
from slap.system.marshal.write import XML, dumps, unwrapped

__all__ = ["LARGEST", "XML", "SlapObject", "dumps", "loads", "unwrapped"]
