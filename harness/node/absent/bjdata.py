"""In crossbar's way to the real `bjdata`, which nobody here uses: autobahn imports each serializer
that it finds, and this one prints a false alarm where NumPy is newer than it knows."""

raise ImportError("bjdata is not wanted here")
