/* Runs the tests of int8 kernels on a device, and tells which sets of kernels they went through. */
#include <criterion/criterion.h>

#include "ops/kernel/int8.h"

static device_test *first, **last = &first;

void device_test_add(device_test *test)
{
    *last = test;
    last = &test->next;
}

int main(void)
{
    for (const device_test *test = first; test != NULL; test = test->next) {
        test->run();
        printf("ok %s\n", test->name);
    }
    for (const nas_q8_kernels *const *set = nas_q8_kernels_all(); *set != NULL; set++)
        printf("int8 %s\n", (*set)->name);
    return first != NULL ? 0 : 1;
}
