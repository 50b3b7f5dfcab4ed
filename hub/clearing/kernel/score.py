"""T4's points: how well two records fit to be one act, in whole thousandths of a point. Pure, compiled."""

from hub.clearing.kernel.clusters import keys_conflict
from hub.clearing.kernel.compiled import compiled
from hub.clearing.kernel.rows import I64, MINUTE, US, Rules, Table

NEVER = -1_000_000_000
START, END, EITHER = 0, 1, 2
SOMETIMES = 2
MINUTE_US = 59 * US


@compiled
def pair_points(rows: Table, rules: Rules, clusters: Table, a: int, b: int) -> int:
    """Return the points for the acts with roots a and b being one, or NEVER.

    The comparison is between each act's best record that tells a moment; keys and platforms are those of the whole act.
    """
    if clusters[a].platforms & clusters[b].platforms != 0:
        return NEVER
    i, j = clusters[a].precise, clusters[b].precise
    if (
        rules.roles[rows[i].rank].acting
        and rules.roles[rows[j].rank].acting
        and not rules.together[rows[i].platform, rows[j].platform]
    ):
        return NEVER
    points = record_points(rows, rules, i, j)
    if points == NEVER:
        return NEVER
    return points + _conflict_points(rows, rules, clusters, a, b)


@compiled
def _conflict_points(rows: Table, rules: Rules, clusters: Table, a: int, b: int) -> int:
    """Return the points for different keys; where a platform is known to give now and then a number of its own, they say less."""
    conflicts = keys_conflict(clusters, a, b)
    i, j = clusters[a].precise, clusters[b].precise
    doubted = gives_odd_keys(rows, rules, i) or gives_odd_keys(rows, rules, j)
    return int(conflicts * (rules.settings[0].key_doubt if doubted else rules.settings[0].key_conflict))


@compiled
def gives_odd_keys(rows: Table, rules: Rules, i: int) -> bool:
    """Say whether a record's event key may be of its platform's making, though most are not."""
    return bool(rules.customs[rows[i].platform, rows[i].behaviour].own == SOMETIMES)


@compiled
def is_acceptable(rows: Table, rules: Rules, i: int, j: int) -> bool:
    """Say whether two records fit, whatever their keys and platforms."""
    return bool(record_points(rows, rules, i, j) >= rules.settings[0].accept)


@compiled
def record_points(rows: Table, rules: Rules, i: int, j: int) -> int:
    """Return the points for time, quantity, duration and behaviour of two records that tell moments."""
    points = time_points(rows, rules, i, j)
    if points == NEVER:
        return NEVER
    points += quantity_points(rows, rules, i, j)
    points += _duration_points(rows, rules, i, j)
    if rows[i].behaviour != rows[j].behaviour and not mixes(rows, rules, i) and not mixes(rows, rules, j):
        points += rules.settings[0].behaviour_points
    return points


@compiled
def time_points(rows: Table, rules: Rules, i: int, j: int) -> int:
    """Return the points for what two records tell of when the act was, or NEVER."""
    if rules.usual[rows[i].family] > 0 and is_moment(rows, i) and is_moment(rows, j):
        i_end, j_end = tells_end(rows, rules, i), tells_end(rows, rules, j)
        apart = NEVER if i_end + j_end == START + END else _moment_points(rows, rules, i, j)
        if j_end != START and i_end != END:
            apart = max(apart, _lag_points(rows, rules, i, j))
        if i_end != START and j_end != END:
            apart = max(apart, _lag_points(rows, rules, j, i))
        return apart
    return _moment_points(rows, rules, i, j)


@compiled
def _moment_points(rows: Table, rules: Rules, i: int, j: int) -> int:
    apart_s = us_apart(rows, rules, i, j) // US
    if apart_s > rules.window[rows[i].family]:
        return NEVER
    return _on_line(rules.time_line, apart_s)


@compiled
def _lag_points(rows: Table, rules: Rules, begin: int, end: int) -> int:
    """Return the points for one platform's begin and another's end being of one act, or NEVER if it would be too long."""
    usual_s = rules.usual[rows[begin].family]
    lag_s = (rows[end].start - rows[begin].start) // US
    if lag_s < 0 or lag_s > usual_s:
        return NEVER
    return int(rules.settings[0].lag_points + lag_s * rules.settings[0].lag_slope // usual_s)


@compiled
def is_moment(rows: Table, i: int) -> bool:
    """Say whether a record tells a single moment of the act."""
    return bool(rows[i].end == rows[i].start)


@compiled
def mixes(rows: Table, rules: Rules, i: int) -> bool:
    """Say whether the record's platform cannot tell the behaviours of the family apart."""
    known = rules.customs[rows[i].platform, rows[i].behaviour].mixes
    return bool(known == 1 or (known < 0 and rules.roles[rows[i].rank].mixes))


@compiled
def tells_end(rows: Table, rules: Rules, i: int) -> int:
    """Return what a record's single moment is: START or END of the act, or EITHER."""
    known = rules.customs[rows[i].platform, rows[i].behaviour].ends
    return int(known if known >= 0 else rules.role_ends[rows[i].rank, rows[i].family])


@compiled
def us_apart(rows: Table, rules: Rules, i: int, j: int) -> int:
    """Return the microseconds between two reports of the same moment, as far as each tells it."""
    i_moment, j_moment = is_moment(rows, i), is_moment(rows, j)
    if i_moment != j_moment:
        moment, act = (i, j) if i_moment else (j, i)
        told = tells_end(rows, rules, moment)
        if told != START:
            # An end is less certain than a start: clocks of interval reporters stretch by some per cent.
            stretch = (rows[act].end - rows[act].start) // 1000 * rules.settings[0].stretch
            after = _between(rows[moment].start, rows[moment].grain, rows[act].end, rows[act].grain)
            if told == END:
                return int(max(0, after - stretch))
            before = _between(rows[moment].start, rows[moment].grain, rows[act].start, rows[act].grain)
            return int(min(before, max(0, after - stretch)))
    return _between(rows[i].start, rows[i].grain, rows[j].start, rows[j].grain)


@compiled
def _between(x: int, x_grain: int, y: int, y_grain: int) -> int:
    """Return the distance of two moments, of which one told to the minute lies anywhere within it."""
    x_last = x + MINUTE_US if x_grain == MINUTE else x
    y_last = y + MINUTE_US if y_grain == MINUTE else y
    return max(0, y - x_last, x - y_last)


@compiled
def _on_line(line: I64, x: int) -> int:
    """Return the value at x of straight lines between the points; the last value beyond them."""
    for k in range(1, line.shape[1]):
        if x <= line[0, k]:
            rise = (line[1, k] - line[1, k - 1]) * (x - line[0, k - 1])
            return int(line[1, k - 1] + rise // (line[0, k] - line[0, k - 1]))
    return int(line[1, -1])


@compiled
def _stepped(steps: I64, difference: int) -> int:
    for k in range(steps.shape[1] - 1):
        if difference < steps[0, k]:
            return int(steps[1, k])
    return int(steps[1, -1])


@compiled
def quantity_points(rows: Table, rules: Rules, i: int, j: int) -> int:
    """Return the points for two quantities of one unit; none if one is not told or says nothing."""
    x, y = rows[i].quantity, rows[j].quantity
    if x <= 0 or y <= 0 or rows[i].unit != rows[j].unit:
        return 0
    if x == y and rules.counts_one[rows[i].behaviour, rows[i].unit]:
        return 0  # one trip and one trip: that says nothing
    return _stepped(rules.quantity_steps, _permille(abs(x - y), max(x, y)))


@compiled
def _duration_points(rows: Table, rules: Rules, i: int, j: int) -> int:
    x, y = rows[i].end - rows[i].start, rows[j].end - rows[j].start
    if x <= 0 or y <= 0:
        return 0
    off = abs(x - y)
    if rows[i].grain == MINUTE or rows[j].grain == MINUTE:
        off = max(0, off - MINUTE_US)
    return _stepped(rules.duration_steps, _permille(off, max(x, y)))


@compiled
def _permille(part: int, whole: int) -> int:
    # Divide the whole first when it is large: quantities go up to 10^18, and the product would not fit.
    if whole < 1_000_000_000:
        return int(part * 1000 // max(whole, 1))
    return int(part // (whole // 1000))
