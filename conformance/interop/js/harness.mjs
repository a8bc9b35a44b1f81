// Steps that are printed as they end, and waiting for what a client is to see.

const PATIENCE_MS = 60_000;

let failed = 0;

/** Runs one step and prints how it went; gives back its result, or undefined when it failed. */
export async function step(name, work) {
    try {
        const result = await work();
        print(`ok - ${name}`);
        return result;
    } catch (error) {
        failed += 1;
        print(`not ok - ${name}`);
        print(`# ${error.stack ?? error}`.replaceAll("\n", "\n# "));
        return undefined;
    }
}

/** Ends the program with a status that says whether every step passed. */
export function end() {
    process.exit(failed === 0 ? 0 : 1);
}

/** Fails with these words unless the condition holds. */
export function ensure(condition, words) {
    if (!condition) {
        throw new Error(words);
    }
}

/**
 * Waits until `look` finds something and gives it back. It looks at once and again whenever the
 * client reports any of these events.
 */
export function until(client, events, what, look) {
    return new Promise((resolve, reject) => {
        const stop = () => {
            clearTimeout(timer);
            for (const event of events) {
                client.off(event, check);
            }
        };
        const check = () => {
            const found = look();
            if (found) {
                stop();
                resolve(found);
            }
        };
        const timer = setTimeout(() => {
            stop();
            reject(new Error(`did not see ${what} within ${PATIENCE_MS / 1000} s`));
        }, PATIENCE_MS);
        for (const event of events) {
            client.on(event, check);
        }
        check();
    });
}

/** Asks again and again until `look`, which may be asynchronous, finds something; gives it back. */
export async function eventually(what, look) {
    const begun = Date.now();
    for (;;) {
        const found = await look();
        if (found) {
            return found;
        }
        ensure(Date.now() - begun < PATIENCE_MS, `did not see ${what} within ${PATIENCE_MS / 1000} s`);
        await new Promise((resolve) => setTimeout(resolve, 200));
    }
}

/**
 * Silences what the client library writes to the console, unless STARLING_TEST_VERBOSE is set: then
 * it comes as remarks.
 */
export function quieten() {
    const verbose = process.env.STARLING_TEST_VERBOSE;
    const write = (...parts) => verbose && print(`# ${parts.join(" ")}`.replaceAll("\n", "\n# "));
    for (const method of ["trace", "debug", "log", "info", "warn", "error"]) {
        console[method] = write;
    }
}

function print(line) {
    process.stdout.write(`${line}\n`);
}
