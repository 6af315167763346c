/* The capabilities in C: each tool hands its input to the capability of its name and
 * outputs the reply as it came. ../../vectors/capabilities talks to it. */
#include "genkit.h"

GENKIT_DESCRIPTOR_FILE("capabilities.json")

#define PASS(name)                                               \
  GENKIT_TOOL(name) {                                            \
    genkit_output(genkit_call(genkit_import_##name, genkit_input())); \
    return 0;                                                    \
  }

PASS(http)
PASS(kv_get)
PASS(kv_set)
PASS(kv_delete)
PASS(kv_list)
PASS(now)
PASS(run)
PASS(generate)
