"""The commands. What is set here has to come before NumPy and torch; the user's own values count more."""

import os

# torch's threads wait for work spinning, by default so long that a busy machine makes them many times slower
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# what NumPy solves here is small: more threads mostly wait for each other, spinning, too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
