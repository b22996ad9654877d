/* Pending leases, by the number of their run.
 *
 * PID 1 owns the table; a monitor sees the copy of the moment it was forked. What makes a lease good for one
 * run only is `claimed`, which all of them share. */
#include "agent.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS 2048
#define CLAIM_NS 60000000000ULL /* where the daemon's clock is another and it names no deadline */
#define MAX_PENDING_BYTES (64U << 20)

static struct {
    char *body;
    size_t length;
    uint64_t run, deadline_ns;
} table[SLOTS];
static _Atomic unsigned char *claimed;
static size_t pending_bytes;

int leases_open(void) {
    void *shared = mmap(NULL, SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -1;
    claimed = shared;
    return 0;
}

static int read_u32(const char *at, size_t length, uint32_t *value) {
    if (length != sizeof *value)
        return -1;
    memcpy(value, at, sizeof *value);
    return 0;
}

static int read_u64(const char *at, size_t length, uint64_t *value) {
    if (length != sizeof *value)
        return -1;
    memcpy(value, at, sizeof *value);
    return 0;
}

static int read_strings(const char *at, size_t length, struct strings *list) {
    if (length && at[length - 1])
        return -1;
    *list = (struct strings){.bytes = at, .length = length};
    for (size_t i = 0; i < length; i++)
        list->count += at[i] == '\0';
    return 0;
}

/* A path or a name: one string, its NUL among the bytes, not empty. */
static int read_path(const char *at, size_t length, const char **path) {
    if (length < 2 || memchr(at, '\0', length) != at + length - 1)
        return -1;
    *path = at;
    return 0;
}

static int read_grant(const char *at, size_t length, struct lease *lease) {
    struct grant *grant = &lease->grants[lease->ngrants];
    size_t head = 4;
    if (length < head || lease->ngrants == MAX_GRANTS || read_u32(at, 4, &grant->flags) < 0)
        return -1;
    if (grant->flags & DX_GRANT_HERE) {
        if (length < head + 2 * sizeof(uint64_t))
            return -1;
        memcpy(&grant->device, at + head, sizeof grant->device);
        memcpy(&grant->inode, at + head + sizeof grant->device, sizeof grant->inode);
        head += 2 * sizeof(uint64_t);
    }
    if (read_path(at + head, length - head, &grant->path) < 0 || grant->path[0] != '/')
        return -1;
    lease->ngrants++;
    return 0;
}

/* Two strings; the second may be empty. */
static int read_link(const char *at, size_t length, struct lease *lease) {
    struct link *link = &lease->links[lease->nlinks];
    const char *end = length ? memchr(at, '\0', length) : NULL;
    if (lease->nlinks == MAX_LINKS || !end || at[0] != '/')
        return -1;
    size_t rest = length - (size_t)(end + 1 - at);
    if (!rest || memchr(end + 1, '\0', rest) != at + length - 1)
        return -1;
    link->path = at;
    link->target = end + 1;
    lease->nlinks++;
    return 0;
}

static int read_rlimit(const char *at, size_t length, struct lease *lease) {
    uint64_t limit[3];
    if (length != sizeof limit)
        return -1;
    memcpy(limit, at, sizeof limit);
    if (limit[0] >= DX_RLIMITS)
        return -1;
    lease->rlimits[limit[0]].given = true;
    lease->rlimits[limit[0]].soft = limit[1];
    lease->rlimits[limit[0]].hard = limit[2];
    return 0;
}

static int read_cache(const char *at, size_t length, struct lease *lease) {
    struct cache *cache = &lease->caches[lease->ncaches];
    if (length < 4 || lease->ncaches == MAX_CACHES || read_u32(at, 4, &cache->volume) < 0 ||
        read_path(at + 4, length - 4, &cache->path) < 0 || cache->path[0] != '/')
        return -1;
    lease->ncaches++;
    return 0;
}

static int read_record(uint32_t type, const char *at, size_t length, struct lease *lease) {
    switch (type) {
    case DX_R_RUN:
        return read_u64(at, length, &lease->run);
    case DX_R_DEADLINE:
        return read_u64(at, length, &lease->deadline_ns);
    case DX_R_SCRATCH:
        return read_u64(at, length, &lease->scratch_bytes);
    case DX_R_TOKEN:
        if (length != DX_TOKEN_BYTES)
            return -1;
        memcpy(lease->token, at, DX_TOKEN_BYTES);
        lease->has_token = true;
        return 0;
    case DX_R_UID:
        lease->has_uid = true;
        return read_u32(at, length, &lease->uid);
    case DX_R_GID:
        lease->has_gid = true;
        return read_u32(at, length, &lease->gid);
    case DX_R_GROUPS:
        if (length % 4 || length / 4 > MAX_GROUPS)
            return -1;
        memcpy(lease->groups, at, length);
        lease->ngroups = length / 4;
        return 0;
    case DX_R_ARGV:
        return read_strings(at, length, &lease->argv);
    case DX_R_ENV:
        return read_strings(at, length, &lease->env);
    case DX_R_CWD:
        return read_path(at, length, &lease->cwd);
    case DX_R_FILE:
        return read_path(at, length, &lease->file);
    case DX_R_HOME:
        return read_path(at, length, &lease->home);
    case DX_R_GRANT:
        return read_grant(at, length, lease);
    case DX_R_LINK:
        return read_link(at, length, lease);
    case DX_R_RLIMIT:
        return read_rlimit(at, length, lease);
    case DX_R_CACHE:
        return read_cache(at, length, lease);
    default: /* what this version does not know it must not leave out */
        return -1;
    }
}

int lease_parse(const char *body, size_t length, struct lease *lease) {
    struct records records = {body, length};
    struct dx_record record;
    const char *payload;
    int more;
    memset(lease, 0, sizeof *lease);
    while ((more = record_next(&records, &record, &payload)) > 0)
        if (read_record(record.type, payload, record.length, lease) < 0)
            return -1;
    if (more < 0 || !lease->has_token || !lease->has_uid || !lease->has_gid || !lease->run || !lease->argv.count ||
        !lease->file || !lease->cwd)
        return -1;
    return 0;
}

static void forget(size_t slot) {
    pending_bytes -= table[slot].length;
    free(table[slot].body);
    memset(&table[slot], 0, sizeof table[slot]);
}

void leases_add(char *body, size_t length) {
    struct lease lease;
    if (lease_parse(body, length, &lease) < 0)
        goto refuse;
    size_t slot = lease.run % SLOTS;
    if (table[slot].body && !atomic_load(&claimed[slot]) && now_ns() < table[slot].deadline_ns)
        goto refuse; /* START will say that there is no such lease */
    if (table[slot].body)
        forget(slot);
    if (pending_bytes + length > MAX_PENDING_BYTES)
        goto refuse;
    table[slot].body = body;
    table[slot].length = length;
    table[slot].run = lease.run;
    table[slot].deadline_ns = lease.deadline_ns ? lease.deadline_ns : now_ns() + CLAIM_NS;
    pending_bytes += length;
    atomic_store(&claimed[slot], 0);
    return;
refuse:
    free(body);
}

void leases_drop(uint64_t run) {
    size_t slot = run % SLOTS;
    if (table[slot].body && table[slot].run == run)
        forget(slot);
}

void leases_expire(void) {
    static uint64_t next_ns;
    uint64_t now = now_ns();
    if (now < next_ns)
        return;
    next_ns = now + 1000000000U;
    for (size_t slot = 0; pending_bytes && slot < SLOTS; slot++)
        if (table[slot].body && now > table[slot].deadline_ns)
            forget(slot);
}

int leases_claim(const struct dx_start *start, struct lease *lease, struct failure *f) {
    size_t slot = start->run % SLOTS;
    unsigned char free_slot = 0;
    if (!table[slot].body || table[slot].run != start->run ||
        lease_parse(table[slot].body, table[slot].length, lease) < 0)
        return fail(f, 125, "the agent knows no such lease; try again");
    unsigned char difference = 0; /* compared in constant time: the token is a secret */
    for (size_t i = 0; i < DX_TOKEN_BYTES; i++)
        difference |= lease->token[i] ^ start->token[i];
    if (difference)
        return fail(f, 125, "the agent knows no such lease; try again");
    if (now_ns() > table[slot].deadline_ns)
        return fail(f, 125, "the lease came too late; try again");
    if (!atomic_compare_exchange_strong(&claimed[slot], &free_slot, 1))
        return fail(f, 125, "this lease was used before");
    return 0;
}
