/* A supernet with what is known about it, in memory and as a file
 * (docs/reference/supernet.md). */
#ifndef NAS_NAS_ELASTIC_SUPERNET_H
#define NAS_NAS_ELASTIC_SUPERNET_H

#include "nas/elastic/elastic.h"
#include "nas/train/checkpoint.h"

enum { NAS_MAX_PHASES = 24, NAS_PHASE_NAME_SIZE = 32, NAS_AUGMENT_NAME_SIZE = 16,
       NAS_SUPERNET_SIZES = 64 };

typedef struct nas_supernet {
    nas_space *space;            /* fitted to the images it was trained on              */
    nas_elastic *elastic;
    nas_elastic_dims trained;    /* what the phases so far allowed; kernels 0: none yet  */
    int phases;                  /* done so far                                         */
    char phase[NAS_MAX_PHASES][NAS_PHASE_NAME_SIZE];
    int sizes, size[NAS_SUPERNET_SIZES]; /* of images in them, ascending; 0: not known   */
    uint64_t seed;               /* of the split of the training images                  */
    double valid_fraction;       /* of them held out                                    */
    char augment[NAS_AUGMENT_NAME_SIZE]; /* preset that the last phase saw them through: batch
                                    statistics of subnets are averaged over the same      */
    char data[NAS_DIGEST_SIZE];  /* of the data set with these images; "": not known      */
    nas_model *teacher;          /* the largest network as it was trained alone; or NULL  */
    char digest[NAS_DIGEST_SIZE]; /* of its file; "": was not read from one               */
} nas_supernet;

/** A fresh one of a space (taken over, also after an error), with initial values from `seed`. */
nas_status nas_supernet_new(nas_supernet **out, nas_space *space, int max_batch,
                            nas_memory memory, uint64_t seed, nas_err *err);
void nas_supernet_free(nas_supernet *supernet);
/** Notes image sizes of a phase beside those of the ones before. */
void nas_supernet_add_sizes(nas_supernet *supernet, int sizes, const int *size);
/** Leaves its space the image sizes that it was trained on, where these are known: for those who
 * take subnets out. */
void nas_supernet_narrow(nas_supernet *supernet);
/** Makes the largest network, as it is now, the teacher, unless there is one. */
nas_status nas_supernet_keep_teacher(nas_supernet *supernet, nas_err *err);

nas_status nas_supernet_save(const nas_supernet *supernet, const char *path, nas_err *err);
/** Reads a file; max_batch and memory as in nas_elastic_new.  NAS_E_DATA, NAS_E_IO. */
nas_status nas_supernet_load(nas_supernet **out, const char *path, int max_batch,
                             nas_memory memory, nas_err *err);

/** Shared weights and matrices of a file, with `momentum` SGD's too: for checkpoints. */
void nas_supernet_add_tensors(nas_safetensors_builder *builder, const nas_supernet *supernet,
                              bool momentum);
/** Reads them back; unchanged unless NAS_OK. */
nas_status nas_supernet_read_tensors(const nas_safetensors *file, nas_supernet *supernet,
                                     bool momentum, nas_err *err);

/** Limits as JSON members "kernel", "expand" (lists of numbers) and "skip", and back: where a
 * member is missing, *dims keeps its values.  NAS_E_DATA says where. */
json_t *nas_elastic_dims_json(const nas_elastic_dims *dims);
nas_status nas_elastic_dims_read(nas_elastic_dims *dims, const json_t *json, const char *where,
                                 nas_err *err);

/** Finds the choice that gives `arch`, and checks that it was trained.  NAS_E_CONFIG. */
nas_status nas_supernet_choice(const nas_supernet *supernet, const nas_arch *arch, int *choice,
                               nas_err *err);

#endif
