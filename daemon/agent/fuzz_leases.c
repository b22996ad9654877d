/* libFuzzer: what a lease is made of, as the daemon would send it; see tests/agent/test_fuzz.py. */
#include "agent.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int fail(struct failure *f, uint32_t code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    f->code = code;
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return -1;
}

/* Read all that a parsed lease points to, as the monitor does. */
static size_t touch(const struct lease *lease) {
    const char *at = lease->argv.bytes;
    size_t n = strlen(lease->file) + strlen(lease->cwd) + (lease->home ? strlen(lease->home) : 0);
    for (size_t i = 0; i < lease->argv.count; i++, at += strlen(at) + 1)
        n += strlen(at);
    at = lease->env.bytes;
    for (size_t i = 0; i < lease->env.count; i++, at += strlen(at) + 1)
        n += strlen(at);
    for (size_t i = 0; i < lease->ngrants; i++)
        n += strlen(lease->grants[i].path) + lease->grants[i].flags;
    for (size_t i = 0; i < lease->ngroups; i++)
        n += lease->groups[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct lease lease;
    static bool open;
    if (!open && leases_open() < 0)
        abort();
    open = true;
    char *body = malloc(size ? size : 1); /* of just that size, so that a byte too far is seen */
    if (!body)
        abort();
    if (size)
        memcpy(body, data, size);
    if (lease_parse(body, size, &lease) < 0) {
        leases_add(body, size);
        return 0;
    }
    if (touch(&lease) == SIZE_MAX)
        abort();
    struct dx_start start = {.run = lease.run};
    struct lease claimed;
    struct failure f;
    memcpy(start.token, lease.token, sizeof start.token);
    uint64_t run = lease.run;
    leases_add(body, size);
    if (leases_claim(&start, &claimed, &f) == 0) {
        if (touch(&claimed) == SIZE_MAX || leases_claim(&start, &claimed, &f) == 0)
            abort(); /* a lease is good once */
    }
    leases_drop(run);
    return 0;
}
