"""Steps that are printed as they end, and waiting for what a client is to see."""

import asyncio
import time
import traceback

PATIENCE_SECONDS = 60
POLL_MILLISECONDS = 2_000


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


def good(response, kind):
    """Gives back a response of the library if it is of the good kind."""
    ensure(isinstance(response, kind), f"the server answered {response}")
    return response


async def until(client, what, look):
    """Syncs until `look` finds something and gives it back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = look()
        if found:
            return found
        ensure(time.monotonic() < deadline, f"did not see {what} within {PATIENCE_SECONDS} s")
        response = await client.sync(timeout=POLL_MILLISECONDS)
        if hasattr(response, "next_batch"):
            await client.run_response_callbacks([response])
        else:
            await asyncio.sleep(0.2)
