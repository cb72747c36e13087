/* Replays a corpus through a fuzz target without a fuzzer: every file of the given
 * folders as it is, then in fixed mutations (truncated, bits flipped, bytes
 * overwritten or repeated).  Fails by crashing, or when it finds no file. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS = 300, LARGEST = 1 << 20 };

/* A small generator of its own, so that a mutation stays what it is (Steele et al. 2014,
 * splitmix64). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Changes `data` in place; returns its new size. */
static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t loud[] = {0, 0xff, 0x7f, 0x80, '"', '[', '{', '-', '9', 'e'};
    const int changes = 1 + (int)(next(state) % 4);

    for (int i = 0; i < changes && size > 0; i++) {
        const size_t at = next(state) % size;

        switch (next(state) % 5) {
        case 0: size = at; break;
        case 1: data[at] ^= (uint8_t)(1u << next(state) % 8); break;
        case 2: data[at] = loud[next(state) % sizeof loud]; break;
        case 3: memmove(data + at, data + at + 1, size - at - 1); size--; break;
        default: memmove(data + at, data + next(state) % size / 2, (size - at) / 2); break;
        }
    }
    return size;
}

/* Each input in memory of its own exact size, so that a sanitizer sees one byte too far. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void replay(const char *path)
{
    static uint8_t content[LARGEST], changed[LARGEST];
    FILE *file = fopen(path, "rb");
    uint64_t state = 1;

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    const size_t size = fread(content, 1, sizeof content, file);
    fclose(file);
    feed(content, size);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(changed, content, size);
        feed(changed, mutate(changed, size, &state));
    }
}

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    int files = 0;

    if (dir == NULL) {
        perror(folder);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        replay(path);
        files++;
    }
    closedir(dir);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;

    for (int i = 1; i < argc; i++)
        files += replay_folder(argv[i]);
    printf("%d files, each as it is and in %d mutations\n", files, MUTATIONS);
    return files > 0 ? 0 : 1;
}
