"""The files of a character."""

from selftrack.decoders.makehuman.mhm import SUFFIX

FILES = tuple(f"makehuman{suffix}" for suffix in (".json", SUFFIX, ".glb", ".png"))
"""Their names; `character.*` are those of the user's own character, which a track moves."""
PICTURE = FILES[-1]
