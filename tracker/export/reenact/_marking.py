"""What says of a video that it is synthetic: IPTC's digital source type in it, and a word in the picture."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Of IPTC's vocabulary: a composite of a photo and of what trained algorithms made."""
COMMENT = f"Synthetic: a photo moved by another performance. Digital source type: {SOURCE_TYPE}"
TAG = "synthetic"
"""The word in the picture."""
_XMP = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""The box of an mp4 that holds XMP (XMP specification, part 3, 1.2.7.1)."""
_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def add_xmp(path: Path) -> None:
    """Append the digital source type as XMP to an mp4, in a box of its own behind all others."""
    content = _XMP.bytes + _PACKET.encode()
    with open(path, "ab") as file:
        file.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)
