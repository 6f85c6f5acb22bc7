"""MakeHuman's sliders of the face, and the file that MakeHuman keeps a character in."""
