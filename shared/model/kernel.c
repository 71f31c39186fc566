/* Rows to scores and contributions: the whole of scoring, without Python.h, loaded by ctypes.
 *
 * A node is 16 bytes: an inner one holds its threshold and the index of its left child, whose sibling follows it; a
 * leaf (feature -1) holds its value. Trees are summed in their order, so that a score does not depend on how many
 * rows are scored together. Compiled with -ffp-contract=off: the same bits on every machine.
 */
#include <math.h>
#include <stdint.h>

typedef struct {
    double key;
    int32_t feature;
    int32_t left;
} node;

typedef struct {
    const node *nodes;
    const double *values; /* of every node, for contributions */
    const int32_t *roots;
    int32_t trees;
    int32_t width;
    int32_t round_inputs; /* to float32, as scikit-learn's forests do before they compare */
    int32_t mean;
    int32_t sigmoid;
    double initial;
    double scale;
    double offset;
} model;

enum { MAX_WIDTH = 4096, BLOCK = 64 };

static void take(const model *m, const double *row, double *x) {
    if (m->round_inputs)
        for (int32_t j = 0; j < m->width; j++) x[j] = (double)(float)row[j];
    else
        for (int32_t j = 0; j < m->width; j++) x[j] = row[j];
}

static double walk(const node *nodes, int32_t root, const double *x) {
    const node *n = nodes + root;
    while (n->feature >= 0) n = nodes + n->left + (x[n->feature] > n->key);
    return n->key;
}

static double finish(const model *m, double sum) {
    double z = m->mean ? sum / m->trees : sum;
    z = z * m->scale + m->offset;
    return m->sigmoid ? 1.0 / (1.0 + exp(-z)) : z;
}

double riskline_score_one(const model *m, const double *row) {
    double x[MAX_WIDTH];
    double sum = m->initial;
    take(m, row, x);
    for (int32_t t = 0; t < m->trees; t++) sum += walk(m->nodes, m->roots[t], x);
    return finish(m, sum);
}

/* A block of rows goes through each tree before the next, so that the tree is read once a block. */
void riskline_score(const model *m, const double *rows, int64_t count, double *scores, double *scratch) {
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t rest = count - start, size = rest < BLOCK ? rest : BLOCK;
        double *sums = scores + start;
        for (int64_t i = 0; i < size; i++) {
            take(m, rows + (start + i) * m->width, scratch + i * m->width);
            sums[i] = m->initial;
        }
        for (int32_t t = 0; t < m->trees; t++)
            for (int64_t i = 0; i < size; i++) sums[i] += walk(m->nodes, m->roots[t], scratch + i * m->width);
        for (int64_t i = 0; i < size; i++) sums[i] = finish(m, sums[i]);
    }
}

/* Path contributions (Saabas 2014): what each split's outcome added goes to the feature that it asked for. */
void riskline_explain(const model *m, const double *rows, int64_t count, double *contributions) {
    double x[MAX_WIDTH];
    for (int64_t i = 0; i < count; i++) {
        double *mine = contributions + i * m->width;
        take(m, rows + i * m->width, x);
        for (int32_t j = 0; j < m->width; j++) mine[j] = 0.0;
        for (int32_t t = 0; t < m->trees; t++) {
            int32_t at = m->roots[t];
            while (m->nodes[at].feature >= 0) {
                const node *n = m->nodes + at;
                int32_t next = n->left + (x[n->feature] > n->key);
                mine[n->feature] += m->values[next] - m->values[at];
                at = next;
            }
        }
        for (int32_t j = 0; j < m->width; j++) mine[j] = (m->mean ? mine[j] / m->trees : mine[j]) * m->scale;
    }
}
