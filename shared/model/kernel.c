/* Rows to scores and contributions: the whole of scoring, without Python.h, loaded by ctypes.
 *
 * A node is 16 bytes: an inner one holds its threshold and the index of its left child, whose sibling follows it; a
 * leaf (feature -1) holds its value, and its own index for a left child. Before a row stands minus infinity, which is
 * what feature -1 reads: a step from a leaf stays there, so that several walks go side by side in one loop without a
 * branch for each, and none waits for another's memory. Leaves are summed in the trees' order, so that a score does not
 * depend on how many rows are scored together. A linear model is a tree of one leaf, and a weight for each feature.
 * Compiled with -ffp-contract=off: the same bits on every machine.
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
    const double *values; /* of every node, for contributions; or none, where they are known for each leaf */
    const int32_t *leaves; /* each node's place in the next, if it is a leaf; or none */
    const double *moves;   /* what the way to each leaf has added to each feature, width numbers a leaf */
    const double *knots;   /* of a calibration curve: where, then how high; or none */
    const double *weights; /* of each feature, then the centre of each, from which its distance is weighed; or none */
    const int32_t *roots;
    int32_t trees;
    int32_t width;
    int32_t round_inputs; /* to float32, as scikit-learn's forests do before they compare */
    int32_t mean;
    int32_t sigmoid;
    int32_t curve; /* 0 none, 1 a sigmoid of slope and intercept, more: a line through so many less one knots */
    double initial;
    double scale;
    double offset;
    double slope;
    double intercept;
} model;

/* Counts the changes of the layouts above, of what feature -1 and a leaf's left child mean, and of the calls below. */
const int32_t riskline_layout = 5;

enum { MAX_WIDTH = 4096, BLOCK = 64, WALKS = 16, TOGETHER = 4 };

/* The farthest from its centre that a value counts: beyond it a sum of products may be no number. */
static const double FARTHEST = 1e150;

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

static int32_t leaf_alone(const node *nodes, int32_t at, const double *x) {
    while (nodes[at].feature >= 0) at = step(nodes, at, x);
    return at;
}

/* Between two knots as scipy's interp1d does it, which is what scikit-learn's isotonic regression asks. */
static double between(const double *x, const double *y, int32_t knots, double at) {
    int32_t low = 0, high = knots - 1;
    if (!(at > x[0])) return y[0];
    if (!(at < x[high])) return y[high];
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (at > x[middle]) low = middle;
        else high = middle;
    }
    double height = (y[high] - y[low]) / (x[high] - x[low]) * (at - x[low]) + y[low];
    return height > 1.0 ? 1.0 : height; /* it rounds; scikit-learn takes such for 1, too */
}

/* What one feature of a row adds by its weight. */
static double weighed(const model *m, const double *x, int32_t j) {
    double distance = x[j] - m->weights[m->width + j];
    distance = distance > FARTHEST ? FARTHEST : distance;
    distance = distance < -FARTHEST ? -FARTHEST : distance;
    return m->weights[j] * distance;
}

/* What a row's sum begins with: what every row has, and what its features add by their weights. */
static double beginning(const model *m, const double *x) {
    double sum = m->initial;
    if (m->weights)
        for (int32_t j = 0; j < m->width; j++) sum += weighed(m, x, j);
    return sum;
}

static double finish(const model *m, double sum) {
    double z = m->mean ? sum / m->trees : sum;
    z = z * m->scale + m->offset;
    if (m->sigmoid) z = 1.0 / (1.0 + exp(-z));
    if (m->curve == 1) return 1.0 / (1.0 + exp(-(z * m->slope + m->intercept)));
    if (m->curve) return between(m->knots, m->knots + m->curve - 1, m->curve - 1, z);
    return z;
}

/* One row: WALKS trees side by side instead of WALKS rows, with the leaves in the same order. */
static double sum_alone(const model *m, const double *x) {
    const double *same[WALKS];
    double sum = beginning(m, x);
    int32_t t = 0, at[WALKS];
    for (int k = 0; k < WALKS; k++) same[k] = x;
    for (; t + WALKS <= m->trees; t += WALKS) {
        for (int k = 0; k < WALKS; k++) at[k] = m->roots[t + k];
        walk(m->nodes, at, same);
        for (int k = 0; k < WALKS; k++) sum += m->nodes[at[k]].key;
    }
    for (; t < m->trees; t++) sum += m->nodes[leaf_alone(m->nodes, m->roots[t], x)].key;
    return sum;
}

double riskline_score_one(const model *m, const double *row) {
    double space[MAX_WIDTH + 1];
    return finish(m, sum_alone(m, take(m, row, space)));
}

/* A block of rows goes through each tree before the next, so that the tree is read once a block. */
void riskline_score(const model *m, const double *rows, int64_t count, double *scores, double *scratch) {
    const double *x[BLOCK];
    int32_t at[WALKS];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t rest = count - start, size = rest < BLOCK ? rest : BLOCK, whole = size - size % WALKS;
        double *sums = scores + start;
        for (int64_t i = 0; i < size; i++) {
            x[i] = take(m, rows + (start + i) * m->width, scratch + i * (m->width + 1));
            sums[i] = beginning(m, x[i]);
        }
        for (int32_t t = 0; t < m->trees; t++)
            for (int64_t i = 0; i < whole; i += WALKS) {
                for (int k = 0; k < WALKS; k++) at[k] = m->roots[t];
                walk(m->nodes, at, x + i);
                for (int k = 0; k < WALKS; k++) sums[i + k] += m->nodes[at[k]].key;
            }
        for (int64_t i = whole; i < size; i++) sums[i] = sum_alone(m, x[i]);
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

static double walk_alone_explaining(const model *m, int32_t at, const double *x, double *mine) {
    while (m->nodes[at].feature >= 0) {
        int32_t next = step(m->nodes, at, x);
        mine[m->nodes[at].feature] += m->values[next] - m->values[at];
        at = next;
    }
    return m->nodes[at].key;
}

/* What the ways to TOGETHER leaves have added, one after the other for each feature. */
static void add_moves(const model *m, const int32_t *at, double *restrict mine) {
    const double *restrict moves[TOGETHER];
    for (int g = 0; g < TOGETHER; g++) moves[g] = m->moves + (int64_t)m->leaves[at[g]] * m->width;
    for (int32_t j = 0; j < m->width; j++) {
        double sum = mine[j];
        for (int g = 0; g < TOGETHER; g++) sum += moves[g][j];
        mine[j] = sum;
    }
}

/* Asks for them before they are wanted: leaves lie anywhere. */
static void fetch_moves(const model *m, int32_t at) {
    const double *moves = m->moves + (int64_t)m->leaves[at] * m->width;
    for (int32_t j = 0; j < m->width; j += 8) __builtin_prefetch(moves + j);
}

static void add_moves_alone(const model *m, int32_t at, double *mine) {
    const double *moves = m->moves + (int64_t)m->leaves[at] * m->width;
    for (int32_t j = 0; j < m->width; j++) mine[j] += moves[j];
}

static double sum_alone_explaining(const model *m, const double *x, double *mine) {
    const double *same[WALKS];
    double sum = beginning(m, x);
    int32_t t = 0, at[WALKS];
    for (int k = 0; k < WALKS; k++) same[k] = x;
    for (; m->moves && t + WALKS <= m->trees; t += WALKS) {
        for (int k = 0; k < WALKS; k++) at[k] = m->roots[t + k];
        walk(m->nodes, at, same);
        for (int k = 0; k < WALKS; k++) sum += m->nodes[at[k]].key;
        for (int k = 0; k < WALKS; k += TOGETHER) add_moves(m, at + k, mine);
    }
    for (; t < m->trees; t++) {
        if (m->moves) {
            int32_t leaf = leaf_alone(m->nodes, m->roots[t], x);
            add_moves_alone(m, leaf, mine);
            sum += m->nodes[leaf].key;
        } else {
            sum += walk_alone_explaining(m, m->roots[t], x, mine);
        }
    }
    return sum;
}

/* WALKS rows through TOGETHER trees, before what their leaves say is added up. */
static void some_explaining(const model *m, int32_t t, const double *const *x, double *const *mine, double *sums) {
    int32_t at[WALKS], reached[WALKS][TOGETHER];
    for (int g = 0; g < TOGETHER; g++) {
        for (int k = 0; k < WALKS; k++) at[k] = m->roots[t + g];
        walk(m->nodes, at, x);
        for (int k = 0; k < WALKS; k++) {
            reached[k][g] = at[k];
            fetch_moves(m, at[k]);
            sums[k] += m->nodes[at[k]].key;
        }
    }
    for (int k = 0; k < WALKS; k++) add_moves(m, reached[k], mine[k]);
}

/* WALKS rows through one tree. */
static void one_explaining(const model *m, int32_t t, const double *const *x, double *const *mine, double *sums) {
    int32_t at[WALKS];
    for (int k = 0; k < WALKS; k++) at[k] = m->roots[t];
    if (m->moves) {
        walk(m->nodes, at, x);
        for (int k = 0; k < WALKS; k++) add_moves_alone(m, at[k], mine[k]);
    } else {
        walk_explaining(m, at, x, mine);
    }
    for (int k = 0; k < WALKS; k++) sums[k] += m->nodes[at[k]].key;
}

/* Scores, and path contributions (Saabas 2014) summed in the trees' order as scores are; scratch is twice that of
 * scoring. Where it is known what the way to each leaf has added, the walk is that of scoring. */
void riskline_explain(
    const model *m, const double *rows, int64_t count, double *scores, double *contributions, double *scratch) {
    const double *x[BLOCK];
    double *mine[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t rest = count - start, size = rest < BLOCK ? rest : BLOCK, whole = size - size % WALKS;
        double *sums = scores + start;
        for (int64_t i = 0; i < size; i++) {
            double *space = scratch + 2 * i * (m->width + 1);
            x[i] = take(m, rows + (start + i) * m->width, space);
            mine[i] = space + m->width + 2;
            for (int32_t j = -1; j < m->width; j++) mine[i][j] = m->weights && j >= 0 ? weighed(m, x[i], j) : 0.0;
            sums[i] = beginning(m, x[i]);
        }
        int32_t t = 0;
        for (; m->moves && t + TOGETHER <= m->trees; t += TOGETHER)
            for (int64_t i = 0; i < whole; i += WALKS) some_explaining(m, t, x + i, mine + i, sums + i);
        for (; t < m->trees; t++)
            for (int64_t i = 0; i < whole; i += WALKS) one_explaining(m, t, x + i, mine + i, sums + i);
        for (int64_t i = whole; i < size; i++) sums[i] = sum_alone_explaining(m, x[i], mine[i]);
        for (int64_t i = 0; i < size; i++) {
            for (int32_t j = 0; j < m->width; j++)
                contributions[(start + i) * m->width + j] = (m->mean ? mine[i][j] / m->trees : mine[i][j]) * m->scale;
            sums[i] = finish(m, sums[i]);
        }
    }
}
