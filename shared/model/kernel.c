/* Rows to scores and contributions: the whole of scoring, without Python.h, loaded by ctypes.
 *
 * A node is 16 bytes: an inner one holds its threshold and the index of its left child, whose sibling follows it; a
 * leaf (feature -1) holds its value, and its own index for a left child. Before a row stands minus infinity, which is
 * what feature -1 reads: a step from a leaf stays there, so that several walks go side by side in one loop without a
 * branch for each, and none waits for another's memory. Leaves are summed in the trees' order, so that a score does not
 * depend on how many rows are scored together. Compiled with -ffp-contract=off: the same bits on every machine.
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

/* Counts the changes of the layouts above, of what feature -1 and a leaf's left child mean, and of the calls below. */
const int32_t riskline_layout = 3;

enum { MAX_WIDTH = 4096, BLOCK = 64, WALKS = 16 };

/* Copies a row behind a minus infinity; x[-1] of the result is that. */
static const double *take(const model *m, const double *row, double *space) {
    double *x = space + 1;
    space[0] = -INFINITY;
    if (m->round_inputs)
        for (int32_t j = 0; j < m->width; j++) x[j] = (double)(float)row[j];
    else
        for (int32_t j = 0; j < m->width; j++) x[j] = row[j];
    return x;
}

static int32_t step(const node *nodes, int32_t at, const double *x) {
    return nodes[at].left + (x[nodes[at].feature] > nodes[at].key);
}

/* WALKS walks at once, each with its own root or row, until all stand at leaves. */
static void walk(const node *nodes, int32_t *at, const double *const *x) {
    int32_t moved;
    do {
        moved = 0;
        for (int k = 0; k < WALKS; k++) {
            int32_t next = step(nodes, at[k], x[k]);
            moved |= next ^ at[k];
            at[k] = next;
        }
    } while (moved);
}

static double walk_alone(const node *nodes, int32_t at, const double *x) {
    while (nodes[at].feature >= 0) at = step(nodes, at, x);
    return nodes[at].key;
}

static double finish(const model *m, double sum) {
    double z = m->mean ? sum / m->trees : sum;
    z = z * m->scale + m->offset;
    return m->sigmoid ? 1.0 / (1.0 + exp(-z)) : z;
}

double riskline_score_one(const model *m, const double *row) {
    double space[MAX_WIDTH + 1];
    const double *x = take(m, row, space), *same[WALKS];
    double sum = m->initial;
    int32_t t = 0, at[WALKS];
    for (int k = 0; k < WALKS; k++) same[k] = x;
    for (; t + WALKS <= m->trees; t += WALKS) {
        for (int k = 0; k < WALKS; k++) at[k] = m->roots[t + k];
        walk(m->nodes, at, same);
        for (int k = 0; k < WALKS; k++) sum += m->nodes[at[k]].key;
    }
    for (; t < m->trees; t++) sum += walk_alone(m->nodes, m->roots[t], x);
    return finish(m, sum);
}

/* A block of rows goes through each tree before the next, so that the tree is read once a block. */
void riskline_score(const model *m, const double *rows, int64_t count, double *scores, double *scratch) {
    const double *x[BLOCK];
    int32_t at[WALKS];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t rest = count - start, size = rest < BLOCK ? rest : BLOCK;
        double *sums = scores + start;
        for (int64_t i = 0; i < size; i++) {
            x[i] = take(m, rows + (start + i) * m->width, scratch + i * (m->width + 1));
            sums[i] = m->initial;
        }
        for (int32_t t = 0; t < m->trees; t++) {
            int64_t i = 0;
            for (; i + WALKS <= size; i += WALKS) {
                for (int k = 0; k < WALKS; k++) at[k] = m->roots[t];
                walk(m->nodes, at, x + i);
                for (int k = 0; k < WALKS; k++) sums[i + k] += m->nodes[at[k]].key;
            }
            for (; i < size; i++) sums[i] += walk_alone(m->nodes, m->roots[t], x[i]);
        }
        for (int64_t i = 0; i < size; i++) sums[i] = finish(m, sums[i]);
    }
}

/* The same walk, on which what each split's outcome added goes to the feature that it asked for; a step from a leaf adds
 * nothing to what stands before a row's first feature. */
static void walk_explaining(const model *m, int32_t *at, const double *const *x, double *const *mine) {
    int32_t moved;
    do {
        moved = 0;
        for (int k = 0; k < WALKS; k++) {
            int32_t from = at[k], next = step(m->nodes, from, x[k]);
            mine[k][m->nodes[from].feature] += m->values[next] - m->values[from];
            moved |= next ^ from;
            at[k] = next;
        }
    } while (moved);
}

static void walk_alone_explaining(const model *m, int32_t at, const double *x, double *mine) {
    while (m->nodes[at].feature >= 0) {
        int32_t next = step(m->nodes, at, x);
        mine[m->nodes[at].feature] += m->values[next] - m->values[at];
        at = next;
    }
}

/* Path contributions (Saabas 2014), summed in the trees' order as scores are; scratch is twice that of scoring. */
void riskline_explain(const model *m, const double *rows, int64_t count, double *contributions, double *scratch) {
    const double *x[BLOCK];
    double *mine[BLOCK];
    int32_t at[WALKS];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t rest = count - start, size = rest < BLOCK ? rest : BLOCK;
        for (int64_t i = 0; i < size; i++) {
            double *space = scratch + 2 * i * (m->width + 1);
            x[i] = take(m, rows + (start + i) * m->width, space);
            mine[i] = space + m->width + 2;
            for (int32_t j = -1; j < m->width; j++) mine[i][j] = 0.0;
        }
        for (int32_t t = 0; t < m->trees; t++) {
            int64_t i = 0;
            for (; i + WALKS <= size; i += WALKS) {
                for (int k = 0; k < WALKS; k++) at[k] = m->roots[t];
                walk_explaining(m, at, x + i, mine + i);
            }
            for (; i < size; i++) walk_alone_explaining(m, m->roots[t], x[i], mine[i]);
        }
        for (int64_t i = 0; i < size; i++)
            for (int32_t j = 0; j < m->width; j++)
                contributions[(start + i) * m->width + j] = (m->mean ? mine[i][j] / m->trees : mine[i][j]) * m->scale;
    }
}
