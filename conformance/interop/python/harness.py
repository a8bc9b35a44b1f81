"""Steps that are printed as they end, and waiting for what is to be seen."""

import time
import traceback

PATIENCE_SECONDS = 60


class Story:
    """Counts the steps that failed."""

    def __init__(self):
        self.failed = 0

    async def step(self, name, work):
        """Runs one step, prints how it went, and gives back its result or None."""
        try:
            result = await work
            print(f"ok - {name}", flush=True)
            return result
        except Exception:  # whatever it is, it is this step's failure
            self.failed += 1
            print(f"not ok - {name}", flush=True)
            remarks = traceback.format_exc().strip().replace("\n", "\n# ")
            print(f"# {remarks}", flush=True)
            return None


def ensure(condition, words):
    """Fails with these words unless the condition holds."""
    if not condition:
        raise AssertionError(words)


async def until(what, look, meanwhile):
    """Does `meanwhile` again and again until `look` finds something, and gives that back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = look()
        if found:
            return found
        ensure(time.monotonic() < deadline, f"did not see {what} within {PATIENCE_SECONDS} s")
        await meanwhile()
