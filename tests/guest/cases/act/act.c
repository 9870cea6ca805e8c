// act VERB ARGUMENTS VERB ARGUMENTS...: does one thing after the other, in one process. Cases install it under the
// names of their roles: alice, bob, server. Descriptors and mappings stand in numbered slots; data goes through one
// buffer, whose address is the same in every instance. Stops with a message and status 1 at the first verb that fails.
#define _GNU_SOURCE
#include "common.h"
#include "debug.h"
#include "files.h"
#include "ipc.h"
#include "memory.h"
#include "messages.h"
#include "processes.h"
#include "rings.h"
#include "sockets.h"

static const struct verb* const tables[] = {file_verbs,  ring_verbs,   memory_verbs,  process_verbs,
                                            debug_verbs, socket_verbs, message_verbs, ipc_verbs};

static char** one(char** v) {
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const struct verb* verb = tables[t]; verb->name; verb++)
      if (!strcmp(verb->name, v[0])) {
        for (int i = 1; i <= verb->arguments; i++)
          if (!v[i]) die(v[0], "lacks an argument");
        errno = 0;
        if (verb->run(v) < 0) die(v[0], strerror(errno));
        return v + 1 + verb->arguments;
      }
  die(v[0], "no such verb");
}

// Runs to the end of a block or of the arguments; what follows it.
static char** run(char** v) {
  while (*v && strcmp(*v, "end")) v = is_block(*v) ? block(v) : one(v);
  return *v ? v + 1 : v;
}

int main(int argc, char** argv) {
  (void)argc;
  run(argv + 1);
  return 0;
}
