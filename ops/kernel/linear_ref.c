/* Dense layers over rows straight from their definition, sums in double. */
#include "ops/kernel/ref.h"

void nas_ref_linear(int rows, int in, int out, const float *x, const float *w, const float *bias,
                    nas_act act, float *y)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0;

            for (int i = 0; i < in; i++)
                sum += (double)x[(size_t)r * in + i] * w[(size_t)i * out + o];
            y[(size_t)r * out + o] = nas_act_value(act, (float)sum);
        }
}

void nas_ref_linear_backward(int rows, int in, int out, const float *x, const float *w,
                             const float *dy, float *dx, float *dw, float *db)
{
    for (int r = 0; dx && r < rows; r++)
        for (int i = 0; i < in; i++) {
            double sum = 0;

            for (int o = 0; o < out; o++)
                sum += (double)dy[(size_t)r * out + o] * w[(size_t)i * out + o];
            dx[(size_t)r * in + i] = (float)sum;
        }
    for (int i = 0; dw && i < in; i++)
        for (int o = 0; o < out; o++) {
            double sum = 0;

            for (int r = 0; r < rows; r++)
                sum += (double)x[(size_t)r * in + i] * dy[(size_t)r * out + o];
            dw[(size_t)i * out + o] += (float)sum;
        }
    for (int o = 0; db && o < out; o++) {
        double sum = 0;

        for (int r = 0; r < rows; r++)
            sum += dy[(size_t)r * out + o];
        db[o] += (float)sum;
    }
}
