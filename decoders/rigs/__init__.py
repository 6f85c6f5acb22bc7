"""Faces with shapes of their own, from files: any .glb, folders of OBJ, and characters that a track can move."""
