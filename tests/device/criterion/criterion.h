/* As much of Criterion as a test of kernels uses, for devices where there is none: a program runs
 * all of its tests in the order of the file and ends at the first that fails. */
#ifndef NAS_TESTS_DEVICE_CRITERION_H
#define NAS_TESTS_DEVICE_CRITERION_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct device_test {
    const char *name;
    void (*run)(void);
    struct device_test *next;
} device_test;

/** Adds a test to those that main (device.c) runs; called before main. */
void device_test_add(device_test *test);

#define Test(suite, test, ...)                                                                   \
    static void suite##_##test(void);                                                            \
    __attribute__((constructor)) static void suite##_##test##_add(void)                          \
    {                                                                                            \
        static device_test entry = {#suite "/" #test, suite##_##test, NULL};                     \
                                                                                                 \
        device_test_add(&entry);                                                                 \
    }                                                                                            \
    static void suite##_##test(void)

#define cr_assert(condition, ...)                                                                \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);              \
            fprintf(stderr, " " __VA_ARGS__);                                                    \
            fprintf(stderr, "\n");                                                               \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)
#define cr_assert_arr_eq(a, b, bytes, ...) cr_assert(memcmp(a, b, bytes) == 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, off, ...) \
    cr_assert((a) - (b) <= (off) && (b) - (a) <= (off), __VA_ARGS__)
#define cr_expect_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)

#endif
