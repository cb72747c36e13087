/* SGD and Adam as PyTorch 1.13 defines them. */
#include <math.h>

#include "ops/kernel/ref.h"

void nas_ref_sgd(size_t count, float *w, const float *grad, float *m, float lr, float momentum,
                 float decay, bool nesterov)
{
    for (size_t i = 0; i < count; i++) {
        const float d = grad[i] + decay * w[i];

        m[i] = momentum * m[i] + d;
        w[i] -= lr * (nesterov ? d + momentum * m[i] : m[i]);
    }
}

void nas_ref_adam(size_t count, float *w, const float *grad, float *m, float *v, float lr,
                  float beta1, float beta2, float eps, float decay, long step)
{
    const float step_size = (float)(lr / (1.0 - pow(beta1, (double)step)));
    const float root_of_bias2 = (float)sqrt(1.0 - pow(beta2, (double)step));

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        const float d = grad[i] + decay * w[i];

        m[i] = beta1 * m[i] + (1.0f - beta1) * d;
        v[i] = beta2 * v[i] + (1.0f - beta2) * d * d;
        w[i] -= step_size * m[i] / (sqrtf(v[i]) / root_of_bias2 + eps);
    }
}
