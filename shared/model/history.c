/* What is kept of an entity to columns, and to fewer bytes: the whole of history, without Python.h, loaded by ctypes.
 *
 * Each event is a step of a machine whose memory is bounded; columns are read from the machine before the step. What is
 * kept is the machine as it was after some event, packed, and the raw events after that one. So it makes no difference
 * to any bit when, or how often, events were packed. Sums are whole numbers; a value is rounded by one conversion and
 * one division. Bytes may be anybody's: each length, count and time is checked before it is used, and sums of damaged
 * numbers wrap. docs/reference/history.md has the rules.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "what is kept is little-endian"
#endif

typedef __int128 wide;
typedef unsigned __int128 uwide;

/* Counts the changes of the structs and calls below; the packed state has a version of its own. */
const int32_t riskline_history_layout = 2;

enum {
    CELLS = 60,       /* a window has so many and one more, as it begins inside one */
    BEHIND = 120,     /* cells of a window that are kept behind its newest one, */
    SPARSE = 32,      /* and so many however old they are: an entity of few events forgets none early */
    MOST_CELLS = 121, /* what these two come to */
    CAPACITY = 160,   /* more, so that the oldest leave without all others moving */
    IDS = 128,        /* that are remembered */
    TIMES = 16,       /* of the newest events that are kept by themselves */
    TIMES_ROOM = 64,  /* as above */
    RECENT = 4,       /* cells that are kept of each text */
    VERSION = 1,      /* of the packed state */
    HEAD = 1 + 4 + 1 + 3 * 8,
    FILTER = 32       /* times 64 bits, to tell most new ids at once */
};
#define FARTHEST ((int64_t)1 << 58) /* microseconds from 1970, nine thousand years; times a window's `times` it fits */
#define MOST_SQUARES ((wide)(~(uwide)0 >> 1)) /* a sum of squares stops there */

enum { COUNT = 1, TOTAL, MEAN, LARGEST, SMALLEST, SPREAD, DISTINCT, SINCE_LAST, LAST, SEEN };
enum { OF_COUNT, OF_SUM, OF_SQUARES, OF_LARGEST, OF_SMALLEST };

typedef struct {
    int64_t times, per; /* the cell of a time is time * times / per, rounded down */
    double each;        /* 1 / per */
} length;

typedef struct {
    length length;
    int32_t first, end; /* its lanes: what each of its cells holds; the first is the count */
} window;

typedef struct {
    int32_t what, number;
} lane;

typedef struct {
    length length;
    int32_t text, up_to;
} distinct;

typedef struct {
    int32_t kind, place;
    int32_t of;            /* a window, a distinct count, or one of the numbers that are kept with times */
    int32_t first, second; /* lanes: the sum, or the largest or smallest; the squares */
    int32_t unused;
    int64_t unit; /* units in one: 10 to the number of decimal places, or microseconds */
    double empty;
} column;

typedef struct {
    const window *windows;
    const lane *lanes;
    const distinct *distincts;
    const column *columns;
    const int32_t *kept; /* the numbers that are kept with times */
    int64_t keep;
    int32_t windows_count, lanes_count, distincts_count, columns_count, kept_count;
    int32_t timed; /* 1 where times are kept */
    int32_t numbers, texts;
    int32_t up_to, unused; /* the most of its distinct counts */
} plan;

typedef struct {
    int32_t start, end;
    int64_t cells[CAPACITY]; /* ascending */
} track;

typedef int64_t recent[RECENT]; /* cells, descending; the last one again where there are fewer */

typedef struct {
    int64_t newest, oldest; /* event times */
    uint64_t events;        /* that were applied */
    uint64_t ids[IDS], filter[FILTER];
    int64_t times[TIMES_ROOM]; /* ascending */
    int32_t ids_count, ids_next, times_start, times_end;
    wide *lanes;   /* CAPACITY of each */
    wide *results; /* one of each */
    wide *space;   /* for as many numbers as are packed together */
    track *tracks; /* of each window */
    int64_t *kept; /* TIMES_ROOM of each number */
    /* up_to + 1 of each distinct count, ascending by newest cell, then as they got it */
    uint64_t *hashes;
    recent *recents;
    int32_t *texts_count;
    int32_t *found;  /* how many of each distinct count a time sees */
    int64_t *begins; /* of each window, then of each distinct count: where the cells that a time sees begin */
} machine;

/* Where the parts of a machine are in its memory; the size of it. */
static int64_t lay_out(const plan *p, machine *m, uintptr_t memory) {
    uintptr_t at = memory;
    m->lanes = (wide *)at;
    at += sizeof(wide) * (uintptr_t)p->lanes_count * CAPACITY;
    m->results = (wide *)at;
    at += sizeof(wide) * (uintptr_t)p->lanes_count;
    m->space = (wide *)at;
    at += sizeof(wide) * (uintptr_t)(p->up_to > CAPACITY ? p->up_to : CAPACITY);
    m->begins = (int64_t *)at;
    at += sizeof(int64_t) * (uintptr_t)(p->windows_count + p->distincts_count);
    m->tracks = (track *)at;
    at += sizeof(track) * (uintptr_t)p->windows_count;
    m->kept = (int64_t *)at;
    at += sizeof(int64_t) * (uintptr_t)p->kept_count * TIMES_ROOM;
    m->hashes = (uint64_t *)at;
    at += sizeof(uint64_t) * (uintptr_t)p->distincts_count * (uintptr_t)(p->up_to + 1);
    m->recents = (recent *)at;
    at += sizeof(recent) * (uintptr_t)p->distincts_count * (uintptr_t)(p->up_to + 1);
    m->texts_count = (int32_t *)at;
    at += sizeof(int32_t) * (uintptr_t)p->distincts_count;
    m->found = (int32_t *)at;
    at += sizeof(int32_t) * (uintptr_t)p->distincts_count;
    return (int64_t)(at - memory);
}

/* The bytes of memory that the calls below want for a plan. */
int64_t riskline_history_memory(const plan *p) {
    machine m;
    return lay_out(p, &m, 0) + (int64_t)sizeof(wide);
}

static void reset(const plan *p, machine *m) {
    m->events = 0;
    m->ids_count = m->ids_next = m->times_start = m->times_end = 0;
    memset(m->filter, 0, sizeof m->filter);
    for (int32_t i = 0; i < p->windows_count; i++) m->tracks[i].start = m->tracks[i].end = 0;
    for (int32_t i = 0; i < p->distincts_count; i++) m->texts_count[i] = 0;
}

static void begin(const plan *p, machine *m, void *memory) {
    lay_out(p, m, ((uintptr_t)memory + sizeof(wide) - 1) / sizeof(wide) * sizeof(wide));
    reset(p, m);
}

/* --- A step ------------------------------------------------------------------------------------------------------- */

static int64_t number_at(const uint8_t *bytes, int32_t place) {
    int64_t number;
    memcpy(&number, bytes + 8 * (int64_t)place, sizeof number);
    return number;
}

/* A multiplication takes half the time of a division. It is less than a cell wrong, as no window is under a second;
 * rounded towards zero, a cell below that is the next one. */
static int64_t cell_of(const length *l, int64_t t) {
    int64_t scaled = t * l->times, cell = (int64_t)((double)scaled * l->each) - (scaled < 0);
    int64_t rest = scaled - cell * l->per;
    return cell + (rest >= l->per) - (rest < 0);
}

/* Whether the cell ended at or before the time. */
static int is_before(const length *l, int64_t cell, int64_t t) {
    return ((wide)cell + 1) * l->per <= (wide)t * l->times;
}

static void mark(machine *m, uint64_t id) { m->filter[id / 64 % FILTER] |= (uint64_t)1 << id % 64; }

static int is_remembered(const machine *m, uint64_t id) {
    if (!(m->filter[id / 64 % FILTER] >> id % 64 & 1)) return 0;
    for (int32_t i = 0; i < m->ids_count; i++)
        if (m->ids[i] == id) return 1;
    return 0;
}

static void remember(machine *m, uint64_t id) {
    if (m->ids_next == IDS) {
        m->ids_next = 0;
        memset(m->filter, 0, sizeof m->filter);
        for (int32_t i = 0; i < IDS; i++) mark(m, m->ids[i]);
    }
    m->ids[m->ids_next++] = id;
    if (m->ids_count < IDS) m->ids_count++;
    mark(m, id);
}

/* The place of a cell of a window, which is made if it isn't there. */
static int32_t place_of(const window *w, track *k, wide *lanes, int64_t cell) {
    int32_t at = k->end;
    while (at > k->start && k->cells[at - 1] > cell) at--;
    if (at > k->start && k->cells[at - 1] == cell) return at - 1;
    if (k->end == CAPACITY) {
        size_t count = (size_t)(k->end - k->start);
        memmove(k->cells, k->cells + k->start, count * sizeof *k->cells);
        for (int32_t j = w->first; j < w->end; j++)
            memmove(lanes + j * CAPACITY, lanes + j * CAPACITY + k->start, count * sizeof *lanes);
        at -= k->start;
        k->end -= k->start;
        k->start = 0;
    }
    if (at < k->end) {
        size_t after = (size_t)(k->end - at);
        memmove(k->cells + at + 1, k->cells + at, after * sizeof *k->cells);
        for (int32_t j = w->first; j < w->end; j++)
            memmove(lanes + j * CAPACITY + at + 1, lanes + j * CAPACITY + at, after * sizeof *lanes);
    }
    k->cells[at] = cell;
    for (int32_t j = w->first; j < w->end; j++) lanes[j * CAPACITY + at] = 0;
    k->end++;
    return at;
}

/* What two cells' numbers of a lane come to. */
static wide joined(int32_t what, wide one, wide other) {
    uwide sum = (uwide)one + (uwide)other;
    switch (what) {
    case OF_SQUARES: return (wide)(sum > (uwide)MOST_SQUARES ? (uwide)MOST_SQUARES : sum);
    case OF_LARGEST: return one > other ? one : other;
    case OF_SMALLEST: return one < other ? one : other;
    default: return (wide)sum;
    }
}

/* Adds an event's numbers to one cell's, which are a stride from one another. */
static void add_event(const plan *p, const window *w, wide *cell, int32_t stride, const uint8_t *numbers) {
    int is_first = !cell[0];
    for (int32_t j = w->first; j < w->end; j++, cell += stride) {
        const lane *l = p->lanes + j;
        wide x = l->what == OF_COUNT ? 1 : number_at(numbers, l->number);
        if (l->what == OF_SQUARES) x *= x;
        *cell = is_first ? x : joined(l->what, *cell, x);
    }
}

static void add_to_window(const plan *p, machine *m, int32_t which, int64_t t, const uint8_t *numbers) {
    const window *w = p->windows + which;
    track *k = m->tracks + which;
    int32_t at = place_of(w, k, m->lanes, cell_of(&w->length, t));
    add_event(p, w, m->lanes + w->first * CAPACITY + at, CAPACITY, numbers);
    /* the newest event is in the newest cell */
    int64_t newest = k->cells[k->end - 1];
    while (is_before(&w->length, k->cells[k->start], m->newest - p->keep)) k->start++;
    while (k->end - k->start > SPARSE && (wide)k->cells[k->start] < (wide)newest - BEHIND) k->start++;
}

/* Puts a number at a place, with those from there on one further. */
static void insert(int64_t *numbers, int32_t at, int32_t end, int64_t number) {
    if (at < end) memmove(numbers + at + 1, numbers + at, (size_t)(end - at) * sizeof *numbers);
    numbers[at] = number;
}

static void add_time(const plan *p, machine *m, int64_t t, const uint8_t *numbers) {
    if (m->times_end == TIMES_ROOM) {
        m->times_end -= m->times_start;
        memmove(m->times, m->times + m->times_start, (size_t)m->times_end * sizeof *m->times);
        for (int32_t j = 0; j < p->kept_count; j++)
            memmove(m->kept + j * TIMES_ROOM, m->kept + j * TIMES_ROOM + m->times_start,
                    (size_t)m->times_end * sizeof *m->kept);
        m->times_start = 0;
    }
    int32_t at = m->times_end;
    while (at > m->times_start && m->times[at - 1] > t) at--;
    insert(m->times, at, m->times_end, t);
    for (int32_t j = 0; j < p->kept_count; j++)
        insert(m->kept + j * TIMES_ROOM, at, m->times_end, number_at(numbers, p->kept[j]));
    m->times_end++;
    if (m->times_end - m->times_start > TIMES) m->times_start++;
    while (m->times_start < m->times_end && m->times[m->times_start] < m->newest - p->keep) m->times_start++;
}

/* Puts a cell among the newest ones of a text. */
static void add_cell(int64_t *cells, int64_t cell) {
    int32_t used = 1, at;
    while (used < RECENT && cells[used] < cells[used - 1]) used++;
    for (at = 0; at < used; at++)
        if (cells[at] <= cell) break;
    if (at == RECENT || (at < used && cells[at] == cell)) return;
    for (int32_t i = RECENT - 1; i > at; i--) cells[i] = i <= used ? cells[i - 1] : cell;
    cells[at] = cell;
    for (int32_t i = used + 1; i < RECENT; i++) cells[i] = cells[used];
}

static void add_text(const plan *p, machine *m, int32_t which, int64_t t, const uint8_t *texts) {
    const distinct *d = p->distincts + which;
    uint64_t hash = (uint64_t)number_at(texts, d->text), *hashes = m->hashes + which * (p->up_to + 1);
    recent *recents = m->recents + which * (p->up_to + 1), mine;
    int32_t count = m->texts_count[which], from = 0, to;
    int64_t cell = cell_of(&d->length, t);
    if (!hash) return; /* it names nothing */
    while (from < count && hashes[from] != hash) from++;
    if (from < count) {
        int64_t newest = recents[from][0];
        add_cell(recents[from], cell);
        if (recents[from][0] == newest) return;
        memcpy(mine, recents[from], sizeof mine);
    } else {
        for (int32_t i = 0; i < RECENT; i++) mine[i] = cell;
        count++;
    }
    /* from its old place, or that of a new one, to that behind the last with no newer cell */
    for (to = count - 1; to > from && recents[to][0] > mine[0];) to--;
    if (to == from)
        while (to > 0 && recents[to - 1][0] > mine[0]) to--;
    if (to > from) {
        memmove(hashes + from, hashes + from + 1, (size_t)(to - from) * sizeof *hashes);
        memmove(recents + from, recents + from + 1, (size_t)(to - from) * sizeof *recents);
    } else if (to < from) {
        memmove(hashes + to + 1, hashes + to, (size_t)(from - to) * sizeof *hashes);
        memmove(recents + to + 1, recents + to, (size_t)(from - to) * sizeof *recents);
    }
    hashes[to] = hash;
    memcpy(recents[to], mine, sizeof mine);
    int32_t gone = count > d->up_to;
    while (gone < count && is_before(&d->length, recents[gone][0], m->newest - p->keep)) gone++;
    if (gone) {
        memmove(hashes, hashes + gone, (size_t)(count - gone) * sizeof *hashes);
        memmove(recents, recents + gone, (size_t)(count - gone) * sizeof *recents);
    }
    m->texts_count[which] = count - gone;
}

static int is_forgotten(const plan *p, const machine *m, int64_t t) { return m->events && t > m->newest + p->keep; }

static int is_too_old(const plan *p, const machine *m, int64_t t) { return m->events && t < m->newest - p->keep; }

static void apply(const plan *p, machine *m, int64_t t, const uint8_t *numbers, const uint8_t *texts) {
    if (!m->events || t > m->newest) m->newest = t;
    if (!m->events || t < m->oldest) m->oldest = t;
    m->events++;
    for (int32_t i = 0; i < p->windows_count; i++) add_to_window(p, m, i, t, numbers);
    for (int32_t i = 0; i < p->distincts_count; i++) add_text(p, m, i, t, texts);
    if (p->timed) add_time(p, m, t, numbers);
}

/* --- The columns -------------------------------------------------------------------------------------------------- */

/* Rounded once, half to even, as Python makes a float of an int. */
static double rounded(uwide v) {
    uint64_t high = (uint64_t)(v >> 64);
    if (!high) return (double)(uint64_t)v;
    int shift = 64 - __builtin_clzll(high);
    uint64_t top = (uint64_t)(v >> shift);
    return ldexp((double)(top | ((uwide)top << shift != v)), shift);
}

static double rounded_signed(wide v) { return v < 0 ? -rounded(-(uwide)v) : rounded((uwide)v); }

/* n * squares - sum * sum, exact in 192 bits and rounded once; 0 where damage, or a sum that stopped, has it below. */
static double deviations(uint64_t n, uwide squares, wide sum) {
    uwide s = sum < 0 ? -(uwide)sum : (uwide)sum;
    uint64_t low = (uint64_t)s, high = (uint64_t)(s >> 64) & 0xffffffff;
    uwide a0 = (uwide)n * (uint64_t)squares, a1 = (uwide)n * (uint64_t)(squares >> 64) + (uint64_t)(a0 >> 64);
    uwide b0 = (uwide)low * low, b1 = 2 * ((uwide)low * high) + (uint64_t)(b0 >> 64);
    uwide a = a1, b = b1 + ((uwide)high * high << 64); /* all but the lowest 64 bits */
    uint64_t a_low = (uint64_t)a0, b_low = (uint64_t)b0;
    if (a < b || (a == b && a_low < b_low)) return 0.0;
    uwide top = a - b - (a_low < b_low);
    uint64_t rest = a_low - b_low;
    if (!(uint64_t)(top >> 64)) return rounded(top << 64 | rest);
    return ldexp(rounded(top | (rest != 0)), 64);
}

/* What the lanes of a window come to in the cells that a time sees. */
static void sum_up(const plan *p, machine *m, int32_t which, int64_t t) {
    const window *w = p->windows + which;
    const track *k = m->tracks + which;
    int64_t last = cell_of(&w->length, t), first = last - CELLS;
    int32_t end = k->end, start;
    while (end > k->start && k->cells[end - 1] > last) end--;
    for (start = end; start > k->start && k->cells[start - 1] >= first;) start--;
    for (int32_t j = w->first; j < w->end; j++) {
        const wide *mine = m->lanes + j * CAPACITY;
        uwide sum = 0;
        wide most = start < end ? mine[start] : 0;
        switch (p->lanes[j].what) {
        case OF_LARGEST:
            for (int32_t i = start; i < end; i++) most = mine[i] > most ? mine[i] : most;
            break;
        case OF_SMALLEST:
            for (int32_t i = start; i < end; i++) most = mine[i] < most ? mine[i] : most;
            break;
        case OF_SQUARES:
            for (int32_t i = start; i < end; i++) {
                sum += (uwide)mine[i];
                if (sum > (uwide)MOST_SQUARES) sum = (uwide)MOST_SQUARES;
            }
            most = (wide)sum;
            break;
        default:
            for (int32_t i = start; i < end; i++) sum += (uwide)mine[i];
            most = (wide)sum;
        }
        m->results[j] = most;
    }
}

static double of_window(const plan *p, const machine *m, const column *c) {
    uwide n = (uwide)m->results[p->windows[c->of].first];
    if (!n) return c->empty;
    double some = (double)c->unit, all = rounded(n * (uwide)c->unit);
    switch (c->kind) {
    case COUNT: return rounded(n);
    case SEEN: return 1.0;
    case TOTAL: return rounded_signed(m->results[c->first]) / some;
    case MEAN: return rounded_signed(m->results[c->first]) / all;
    case SPREAD:
        return sqrt(deviations((uint64_t)n, (uwide)m->results[c->second], m->results[c->first])) / all;
    default: return rounded_signed(m->results[c->first]) / some;
    }
}

/* How many texts have a cell that a time sees. */
static void count_texts(const plan *p, machine *m, int32_t which, int64_t t) {
    const distinct *d = p->distincts + which;
    const recent *all = m->recents + which * (p->up_to + 1);
    int64_t last = cell_of(&d->length, t), first = last - CELLS;
    int64_t kept = cell_of(&d->length, m->newest - p->keep);
    int32_t found = 0;
    if (kept > first) first = kept;
    for (int32_t i = 0; i < m->texts_count[which]; i++) {
        int32_t j = 0;
        while (j < RECENT && all[i][j] > last) j++;
        found += j < RECENT && all[i][j] >= first;
    }
    m->found[which] = found;
}

/* Of a late time that all kept ones are newer than, though there were some before, nothing exact is known: the oldest
 * of these stands for the last one, and the mean time between them for that since it. */
static double of_times_before(const machine *m, const column *c) {
    int64_t since = (m->times[m->times_end - 1] - m->times[m->times_start]) / (TIMES - 1);
    return (double)(c->kind == LAST ? m->kept[c->of * TIMES_ROOM + m->times_start] : since) / (double)c->unit;
}

static double of_times(const plan *p, const machine *m, const column *c, int64_t t) {
    int32_t at = m->times_end;
    while (at > m->times_start && m->times[at - 1] > t) at--;
    if (at == m->times_start)
        return m->times_end - at == TIMES && t >= m->oldest && !is_too_old(p, m, t) ? of_times_before(m, c) : c->empty;
    int64_t found = c->kind == LAST ? m->kept[c->of * TIMES_ROOM + at - 1] : t - m->times[at - 1];
    return (double)found / (double)c->unit;
}

static int sees_nothing(const plan *p, const machine *m, int64_t t) { return !m->events || is_forgotten(p, m, t); }

static void look(const plan *p, machine *m, int64_t t) {
    if (sees_nothing(p, m, t)) return;
    for (int32_t i = 0; i < p->windows_count; i++) sum_up(p, m, i, t);
    for (int32_t i = 0; i < p->distincts_count; i++) count_texts(p, m, i, t);
}

/* The columns of what was found at a time. */
static void put_columns(const plan *p, const machine *m, int64_t t, double *out, int by_place) {
    int is_empty = sees_nothing(p, m, t);
    for (int32_t i = 0; i < p->columns_count; i++) {
        const column *c = p->columns + i;
        double *mine = out + (by_place ? c->place : i);
        if (is_empty) *mine = c->empty;
        else if (c->kind == DISTINCT) *mine = m->found[c->of] ? m->found[c->of] : c->empty;
        else if (c->kind == SINCE_LAST || c->kind == LAST) *mine = of_times(p, m, c, t);
        else *mine = of_window(p, m, c);
    }
}

/* --- The packed state --------------------------------------------------------------------------------------------- */

/* Whole numbers as their least one, and what each has more in as many bytes as the largest difference takes. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end; /* of all bytes, not of these numbers: 8 are read at once where there are 8 */
    uwide least;
    uint64_t mask;
    int32_t width;
} packed;

typedef struct {
    const uint8_t *at, *end;
    int is_bad;
} reader;

static const uint8_t *take(reader *r, int64_t count) {
    if (r->is_bad || r->end - r->at < count) {
        r->is_bad = 1;
        return 0;
    }
    r->at += count;
    return r->at - count;
}

static int64_t take_number(reader *r, int32_t width) {
    const uint8_t *bytes = take(r, width);
    int64_t number = 0;
    if (bytes) memcpy(&number, bytes, (size_t)width);
    return number;
}

static int is_far(int64_t t) { return t > FARTHEST || t < -FARTHEST; }

static int64_t take_time(reader *r) {
    int64_t t = take_number(r, 8);
    if (is_far(t)) r->is_bad = 1;
    return t;
}

static int32_t take_count(reader *r, int32_t width, int32_t most) {
    int64_t count = take_number(r, width);
    if (count > most) r->is_bad = 1;
    return r->is_bad ? 0 : (int32_t)count;
}

static wide signed_at(const uint8_t *bytes, int32_t width, const uint8_t *end) {
    if (width <= 8 && end - bytes >= 8) {
        int shift = 64 - 8 * width;
        return (int64_t)((uint64_t)number_at(bytes, 0) << shift) >> shift;
    }
    uwide number = 0;
    memcpy(&number, bytes, (size_t)width);
    int shift = 128 - 8 * width;
    return (wide)(number << shift) >> shift;
}

static packed take_packed(reader *r, int32_t count, int32_t widest) {
    packed q = {0, r->end, 0, 0, 0};
    if (!count) return q;
    int32_t least = take_count(r, 1, widest);
    q.width = take_count(r, 1, widest);
    const uint8_t *bytes = take(r, least);
    q.at = take(r, (int64_t)q.width * count);
    if (r->is_bad || !least) {
        r->is_bad = 1;
        return q;
    }
    q.least = (uwide)signed_at(bytes, least, r->end);
    q.mask = q.width >= 8 ? ~(uint64_t)0 : ((uint64_t)1 << 8 * q.width) - 1;
    return q;
}

/* What a number has more than the least one; quick where it takes no more than 8 bytes. */
static uint64_t more_of(const packed *q, int32_t i) {
    const uint8_t *at = q->at + (int64_t)q->width * i;
    uint64_t more = 0;
    if (q->end - at >= 8) {
        memcpy(&more, at, sizeof more);
        return more & q->mask;
    }
    memcpy(&more, at, (size_t)q->width);
    return more;
}

static wide unpacked(const packed *q, int32_t i) {
    if (q->width <= 8) return (wide)(q->least + more_of(q, i));
    uwide more = 0;
    memcpy(&more, q->at + (int64_t)q->width * i, (size_t)q->width);
    return (wide)(q->least + more);
}

static void unpack_all(const packed *q, int32_t count, wide *out) {
    for (int32_t i = 0; i < count; i++) out[i] = unpacked(q, i);
}

static void unpack_int64s(const packed *q, int32_t count, int64_t *out) {
    for (int32_t i = 0; i < count; i++) out[i] = (int64_t)unpacked(q, i);
}

/* Bytes that a number of the kind takes at most: such sums of cells stay below 2^95, such counts below 2^54. */
static int32_t widest_of(int32_t what) {
    switch (what) {
    case OF_COUNT: return 6;
    case OF_SUM: return 11;
    case OF_SQUARES: return 16;
    default: return 8;
    }
}

static void unpack_window(const plan *p, machine *m, int32_t which, reader *r) {
    const window *w = p->windows + which;
    track *k = m->tracks + which;
    int32_t count = take_count(r, 1, MOST_CELLS);
    packed q = take_packed(r, count, 8);
    if (r->is_bad) return;
    unpack_int64s(&q, count, k->cells);
    for (int32_t i = 1; i < count; i++)
        if (k->cells[i] <= k->cells[i - 1]) r->is_bad = 1;
    k->end = count;
    for (int32_t j = w->first; j < w->end; j++) {
        q = take_packed(r, count, widest_of(p->lanes[j].what));
        if (!r->is_bad) unpack_all(&q, count, m->lanes + j * CAPACITY);
    }
}

static void unpack_texts(const plan *p, machine *m, int32_t which, reader *r) {
    recent *recents = m->recents + which * (p->up_to + 1);
    int32_t count = take_count(r, 4, p->distincts[which].up_to);
    const uint8_t *hashes = take(r, 8 * (int64_t)count);
    if (hashes) memcpy(m->hashes + which * (p->up_to + 1), hashes, 8 * (size_t)count);
    for (int32_t j = 0; j < RECENT; j++) {
        /* how far each is behind the one before it */
        packed q = take_packed(r, count, 8);
        if (r->is_bad) return;
        unpack_all(&q, count, m->space);
        for (int32_t i = 0; i < count; i++)
            recents[i][j] = (int64_t)((j ? (uint64_t)recents[i][j - 1] : 0) - (uint64_t)m->space[i]);
    }
    m->texts_count[which] = count;
}

static void unpack_times(const plan *p, machine *m, reader *r) {
    int32_t count = take_count(r, 1, TIMES);
    packed q = take_packed(r, count, 8);
    if (r->is_bad) return;
    unpack_int64s(&q, count, m->times);
    for (int32_t i = 0; i < count; i++)
        if (is_far(m->times[i]) || (i && m->times[i] < m->times[i - 1])) r->is_bad = 1;
    for (int32_t j = 0; j < p->kept_count; j++) {
        q = take_packed(r, count, 8);
        if (!r->is_bad) unpack_int64s(&q, count, m->kept + j * TIMES_ROOM);
    }
    m->times_end = count;
}

/* The state in front of the events, with what every state has. */
static reader take_head(machine *m, const uint8_t *bytes, int64_t length) {
    uint32_t all = 0;
    if (length >= HEAD) memcpy(&all, bytes + 1, sizeof all);
    if (all < HEAD || all > length || bytes[5] != VERSION) return (reader){bytes, bytes, 1};
    reader r = {bytes + 6, bytes + all, 0};
    m->newest = take_time(&r);
    m->oldest = take_time(&r);
    m->events = (uint64_t)take_number(&r, 8);
    m->ids_count = m->ids_next = take_count(&r, 1, IDS);
    const uint8_t *ids = take(&r, 8 * m->ids_count);
    for (int32_t i = 0; ids && i < m->ids_count; i++) {
        m->ids[i] = (uint64_t)number_at(ids, i);
        mark(m, m->ids[i]);
    }
    if (!m->events || !m->ids_count) r.is_bad = 1;
    return r;
}

/* Takes the state in front of the events: its length, or -1 where it cannot be read. */
static int64_t unpack(const plan *p, machine *m, const uint8_t *bytes, int64_t length) {
    reader r = take_head(m, bytes, length);
    if (p->timed) unpack_times(p, m, &r);
    for (int32_t i = 0; i < p->windows_count; i++) unpack_window(p, m, i, &r);
    for (int32_t i = 0; i < p->distincts_count; i++) unpack_texts(p, m, i, &r);
    return r.is_bad || r.at != r.end ? -1 : r.end - bytes;
}

static int32_t width_of(uwide v) {
    int32_t width = 0;
    for (; v; v >>= 8) width++;
    return width;
}

static int32_t signed_width_of(wide v) {
    int32_t width = 1;
    for (; v > 127 || v < -128; v >>= 8) width++;
    return width;
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t count) {
    memcpy(to, bytes, count);
    return to + count;
}

static uint8_t *put_packed(uint8_t *to, const wide *from, int32_t count) {
    wide least = count ? from[0] : 0, most = least;
    if (!count) return to;
    for (int32_t i = 1; i < count; i++) {
        if (from[i] < least) least = from[i];
        if (from[i] > most) most = from[i];
    }
    int32_t first = signed_width_of(least), width = width_of((uwide)most - (uwide)least);
    *to++ = (uint8_t)first;
    *to++ = (uint8_t)width;
    to = put(to, &least, (size_t)first);
    for (int32_t i = 0; i < count; i++) {
        uwide more = (uwide)from[i] - (uwide)least;
        to = put(to, &more, (size_t)width);
    }
    return to;
}

static uint8_t *put_int64s(uint8_t *to, const machine *m, const int64_t *from, int32_t count) {
    for (int32_t i = 0; i < count; i++) m->space[i] = from[i];
    return put_packed(to, m->space, count);
}

static uint8_t *put_ids(uint8_t *to, const machine *m) {
    int32_t oldest = m->ids_next % m->ids_count;
    *to++ = (uint8_t)m->ids_count;
    to = put(to, m->ids + oldest, (size_t)(m->ids_count - oldest) * 8);
    return put(to, m->ids, (size_t)oldest * 8);
}

static uint8_t *put_window(uint8_t *to, const plan *p, const machine *m, int32_t which) {
    const track *k = m->tracks + which;
    int32_t count = k->end - k->start;
    *to++ = (uint8_t)count;
    to = put_int64s(to, m, k->cells + k->start, count);
    for (int32_t j = p->windows[which].first; j < p->windows[which].end; j++)
        to = put_packed(to, m->lanes + j * CAPACITY + k->start, count);
    return to;
}

static uint8_t *put_texts(uint8_t *to, const plan *p, const machine *m, int32_t which) {
    const recent *recents = m->recents + which * (p->up_to + 1);
    int32_t count = m->texts_count[which];
    to = put(to, &count, 4);
    to = put(to, m->hashes + which * (p->up_to + 1), 8 * (size_t)count);
    for (int32_t j = 0; j < RECENT; j++) {
        for (int32_t i = 0; i < count; i++) m->space[i] = (j ? (wide)recents[i][j - 1] : 0) - recents[i][j];
        to = put_packed(to, m->space, count);
    }
    return to;
}

static int64_t pack(const plan *p, const machine *m, uint8_t *out) {
    uint8_t *to = out + 5;
    *to++ = VERSION;
    to = put(to, &m->newest, 8);
    to = put(to, &m->oldest, 8);
    to = put(to, &m->events, 8);
    to = put_ids(to, m);
    if (p->timed) {
        int32_t start = m->times_start, count = m->times_end - start;
        *to++ = (uint8_t)count;
        to = put_int64s(to, m, m->times + start, count);
        for (int32_t j = 0; j < p->kept_count; j++)
            to = put_int64s(to, m, m->kept + j * TIMES_ROOM + start, count);
    }
    for (int32_t i = 0; i < p->windows_count; i++) to = put_window(to, p, m, i);
    for (int32_t i = 0; i < p->distincts_count; i++) to = put_texts(to, p, m, i);
    uint32_t length = (uint32_t)(to - out);
    out[0] = 'S';
    memcpy(out + 1, &length, sizeof length);
    return length;
}

/* The most bytes of a packed state. */
int64_t riskline_history_room(const plan *p) {
    int64_t each = 2 + 16 + 16, room = HEAD + 1 + 8 * IDS;
    if (p->timed) room += 1 + each * TIMES * (1 + p->kept_count);
    room += (1 + each * MOST_CELLS) * p->windows_count + each * MOST_CELLS * p->lanes_count;
    return room + (4 + (8 + each * RECENT) * p->up_to) * (int64_t)p->distincts_count;
}

/* --- What is kept -------------------------------------------------------------------------------------------------- */

enum { UNREADABLE = -1, TAKEN = 0, FOUND = 1, GONE = 2, LATE = 3 };

static int64_t event_size(const plan *p) { return 1 + 8 + 8 + 8 * (int64_t)(p->numbers + p->texts); }

/* A transaction whose columns are wanted. */
typedef struct {
    int64_t t;
    uint64_t id;
    int is_known; /* whether the id was there already */
} asking;

/* Takes all that is kept; of a known transaction what stands before its event, GONE where that one is packed. */
static int fold(const plan *p, machine *m, const uint8_t *bytes, int64_t length, const asking *a) {
    const uint8_t *at = bytes, *end = bytes + length;
    int64_t size = event_size(p);
    int result = TAKEN, until = a && a->is_known;
    if (length && *at == 'S') {
        int64_t state = unpack(p, m, bytes, length);
        if (state < 0) return UNREADABLE;
        at += state;
        if (until && is_remembered(m, a->id)) result = GONE;
    }
    if ((end - at) % size) return UNREADABLE;
    for (; at < end; at += size) {
        uint64_t id = (uint64_t)number_at(at + 1, 0);
        int64_t t = number_at(at + 1, 1);
        if (*at != 'E' || is_far(t)) return UNREADABLE;
        if (until && result == TAKEN && id == a->id) return FOUND;
        if (is_forgotten(p, m, t)) reset(p, m);
        if (is_too_old(p, m, t) || is_remembered(m, id)) continue;
        remember(m, id);
        apply(p, m, t, at + 17, at + 17 + 8 * p->numbers);
    }
    return result;
}

/* --- A transaction that is not late -------------------------------------------------------------------------------- */

/* Where no event is newer than a transaction, it sees no cell and no text that might have been dropped: those in its
 * windows are the newest ones. So the columns are sums over what is kept, as it lies there, and the machine is left out:
 * a fifth of the work. */

static void skim_lane(const packed *q, int32_t what, int32_t from, int32_t to, wide *result) {
    uint64_t sum = 0, most = 0, least = ~(uint64_t)0;
    if (from == to || q->width > 7 || (what == OF_SQUARES && q->least >> 64)) {
        *result = 0;
        for (int32_t i = from; i < to; i++) *result = i > from ? joined(what, *result, unpacked(q, i)) : unpacked(q, i);
        return;
    }
    for (int32_t i = from; i < to; i++) {
        uint64_t more = more_of(q, i);
        sum += more;
        most = more > most ? more : most;
        least = more < least ? more : least;
    }
    if (what == OF_LARGEST) *result = (wide)(q->least + most);
    else if (what == OF_SMALLEST) *result = (wide)(q->least + least);
    else *result = (wide)(q->least * (uwide)(to - from) + sum);
}

static void skim_window(const plan *p, machine *m, int32_t which, reader *r) {
    const window *w = p->windows + which;
    int32_t count = take_count(r, 1, MOST_CELLS), from = count;
    packed q = take_packed(r, count, 8);
    wide first = m->begins[which] / w->length.per;
    while (!r->is_bad && from > 0 && unpacked(&q, from - 1) >= first) from--;
    for (int32_t j = w->first; j < w->end; j++) {
        q = take_packed(r, count, widest_of(p->lanes[j].what));
        if (!r->is_bad) skim_lane(&q, p->lanes[j].what, from, count, m->results + j);
    }
}

/* The texts that are seen, one after the other. */
static void skim_texts(const plan *p, machine *m, int32_t which, reader *r) {
    const distinct *d = p->distincts + which;
    uint64_t *mine = m->hashes + which * (p->up_to + 1);
    int32_t count = take_count(r, 4, d->up_to), found = 0;
    const uint8_t *hashes = take(r, 8 * (int64_t)count);
    packed q = take_packed(r, count, 8);
    wide first = m->begins[p->windows_count + which] / d->length.per;
    for (int32_t j = 1; j < RECENT; j++) take_packed(r, count, 8);
    for (int32_t i = 0; i < count && !r->is_bad; i++)
        if (-unpacked(&q, i) >= first) mine[found++] = (uint64_t)number_at(hashes, i);
    m->found[which] = found;
}

/* The newest time, and the numbers of its event. */
static void skim_times(const plan *p, machine *m, reader *r) {
    int32_t count = take_count(r, 1, TIMES);
    packed q = take_packed(r, count, 8);
    if (count && !r->is_bad) m->times[m->times_end++] = (int64_t)unpacked(&q, count - 1);
    if (m->times_end && is_far(m->times[0])) r->is_bad = 1;
    for (int32_t j = 0; j < p->kept_count; j++) {
        q = take_packed(r, count, 8);
        if (count && !r->is_bad) m->kept[j * TIMES_ROOM] = (int64_t)unpacked(&q, count - 1);
    }
}

static void skim_event(const plan *p, machine *m, int64_t t, const uint8_t *numbers, const uint8_t *texts) {
    if (!m->events || t >= m->newest) {
        m->newest = m->times[0] = t;
        m->times_end = p->timed;
        for (int32_t j = 0; j < p->kept_count; j++) m->kept[j * TIMES_ROOM] = number_at(numbers, p->kept[j]);
    }
    m->events++;
    for (int32_t i = 0; i < p->windows_count; i++) {
        const window *w = p->windows + i;
        if (t * w->length.times >= m->begins[i]) add_event(p, w, m->results + w->first, 1, numbers);
    }
    for (int32_t i = 0; i < p->distincts_count; i++) {
        const distinct *d = p->distincts + i;
        uint64_t hash = (uint64_t)number_at(texts, d->text), *mine = m->hashes + i * (p->up_to + 1);
        int32_t count = m->found[i], is_there = !hash || t * d->length.times < m->begins[p->windows_count + i];
        if (count == d->up_to) continue;
        for (int32_t j = 0; j < count; j++) is_there |= mine[j] == hash;
        if (!is_there) mine[m->found[i]++] = hash;
    }
}

static int64_t begin_of(const length *l, int64_t t) { return (cell_of(l, t) - CELLS) * l->per; }

static void skim_nothing(const plan *p, machine *m, int64_t t) {
    for (int32_t i = 0; i < p->windows_count; i++) m->begins[i] = begin_of(&p->windows[i].length, t);
    for (int32_t j = 0; j < p->lanes_count; j++) m->results[j] = 0;
    for (int32_t i = 0; i < p->distincts_count; i++) {
        m->begins[p->windows_count + i] = begin_of(&p->distincts[i].length, t);
        m->found[i] = 0;
    }
}

/* Takes what a transaction sees; LATE where the machine has to tell, then all is as if there had been nothing. */
static int skim(const plan *p, machine *m, const uint8_t *bytes, int64_t length, const asking *a) {
    const uint8_t *at = bytes, *end = bytes + length;
    int64_t size = event_size(p);
    skim_nothing(p, m, a->t);
    if (length && *at == 'S') {
        reader r = take_head(m, bytes, length);
        if (p->timed) skim_times(p, m, &r);
        for (int32_t i = 0; i < p->windows_count; i++) skim_window(p, m, i, &r);
        for (int32_t i = 0; i < p->distincts_count; i++) skim_texts(p, m, i, &r);
        if (r.is_bad || r.at != r.end) return UNREADABLE;
        if (m->newest > a->t) return LATE;
        at = r.end;
    }
    if ((end - at) % size) return UNREADABLE;
    for (; at < end; at += size) {
        uint64_t id = (uint64_t)number_at(at + 1, 0);
        int64_t t = number_at(at + 1, 1);
        if (*at != 'E' || is_far(t)) return UNREADABLE;
        if (t > a->t || is_forgotten(p, m, t)) return LATE;
        if (is_too_old(p, m, t) || is_remembered(m, id)) continue;
        remember(m, id);
        skim_event(p, m, t, at + 17, at + 17 + 8 * p->numbers);
    }
    return TAKEN;
}

/* --- The calls ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const plan *const *plans;
    void *memory; /* of the plan that wants the most */
    int32_t entities, columns;
} history;

enum { WAS_FORGOTTEN = 1, WAS_TOO_OLD = 2, HAS_NO_ORDINAL = 4 };

/* The columns of a transaction from what is kept of each of its entities: `ask` has its time, its hashed id, 1 if that
 * was there already, and each entity's length, -1 where there is none. `out` gets the columns, for each entity the
 * event's ordinal, 0 if it has none, then for each entity its flags. The result has the flags of all, or is negative:
 * the number from 1 of the entity that cannot be read. */
int32_t riskline_history_columns(const history *h, const uint8_t *ask, const uint8_t *bytes, double *out) {
    asking a = {number_at(ask, 0), (uint64_t)number_at(ask, 1), number_at(ask, 2) != 0};
    int64_t *ordinals = (int64_t *)(out + h->columns), *flags = ordinals + h->entities;
    int32_t all = 0;
    if (is_far(a.t)) return -h->entities - 1;
    for (int32_t i = 0; i < h->entities; i++) {
        const plan *p = h->plans[i];
        int64_t length = number_at(ask, 3 + i);
        machine m;
        begin(p, &m, h->memory);
        int found = length < 0 ? TAKEN : a.is_known ? LATE : skim(p, &m, bytes, length, &a);
        if (found == LATE) {
            reset(p, &m);
            found = fold(p, &m, bytes, length, &a);
            if (found != UNREADABLE) look(p, &m, a.t);
        }
        if (found == UNREADABLE) return -i - 1;
        put_columns(p, &m, a.t, out, 1);
        int is_gone = length >= 0 && a.is_known && found != FOUND, is_old = is_too_old(p, &m, a.t);
        int has_none = length < 0 || is_gone || is_old;
        ordinals[i] = has_none ? 0 : !m.events || is_forgotten(p, &m, a.t) ? 1 : (int64_t)m.events + 1;
        flags[i] = is_gone * WAS_FORGOTTEN + is_old * WAS_TOO_OLD + has_none * HAS_NO_ORDINAL;
        all |= (int32_t)flags[i];
        if (length > 0) bytes += length;
    }
    return all;
}

/* All that is kept as one packed state: its length, 0 where nothing is, -1 where it cannot be read. */
int64_t riskline_history_pack(const plan *p, void *memory, const uint8_t *bytes, int64_t length, uint8_t *out) {
    machine m;
    begin(p, &m, memory);
    if (fold(p, &m, bytes, length, 0) == UNREADABLE) return -1;
    return m.events ? pack(p, &m, out) : 0;
}

/* Events applied, and the oldest and newest event time: 0, or -1 where the bytes cannot be read. */
int32_t riskline_history_describe(const plan *p, void *memory, const uint8_t *bytes, int64_t length, int64_t *out) {
    machine m;
    begin(p, &m, memory);
    if (fold(p, &m, bytes, length, 0) == UNREADABLE) return -1;
    out[0] = (int64_t)m.events;
    out[1] = m.oldest;
    out[2] = m.newest;
    return 0;
}

/* The columns of each row of a file in the rows' order: `order` has the rows of one entity after those of another, each
 * entity's in the order of the file. Rows of a negative entity have none. */
void riskline_history_replay(
    const plan *p, void *memory, int64_t rows, const int64_t *order, const int64_t *entities, const int64_t *times,
    const uint8_t *numbers, const uint8_t *texts, double *out) {
    machine m;
    begin(p, &m, memory);
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = order[i], t = times[row];
        if (i && entities[row] != entities[order[i - 1]]) reset(p, &m);
        look(p, &m, t);
        put_columns(p, &m, t, out + row * p->columns_count, 0);
        if (entities[row] < 0) continue;
        if (is_forgotten(p, &m, t)) reset(p, &m);
        if (!is_too_old(p, &m, t)) apply(p, &m, t, numbers + 8 * row * p->numbers, texts + 8 * row * p->texts);
    }
}
