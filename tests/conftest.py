"""Hypothesis profiles; nothing else.

`HYPOTHESIS_PROFILE` chooses one. Without it: `ci` where the variable CI is set, else `dev`.
"""

import os

from hypothesis import settings

# No deadline: on a busy machine it fails tests that are right. A failure prints the line that repeats it.
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=50)
# The same examples every time: a change is not held up by a fault found somewhere else by luck.
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=200, derandomize=True)
settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
