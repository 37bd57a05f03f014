"""What a standing call learns from the records that repeat it, from what stands above it, and from its resource."""

import secrets

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.ancestry import Ancestry
from spanledger.collector.columns.keys import among, firsts
from spanledger.collector.count.evidence import AGENT, CORRECTION, METRIC, SPAN, Evidence, lacking, nearness
from spanledger.collector.count.told import Told
from spanledger.collector.dialects.fields import WHO

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: What a standing call takes over from the records that repeat it, where it does not know better itself.
MERGED = (
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "input_image_tokens",
    "output_image_tokens",
    "model",
    "requested_model",
    "provider",
    "response_id",
    "request_id",
    "hold_id",
    "variant",
    "service_tier",
    "region",
    "server_address",
    "finish_reason",
    "reported_cost_usd",
    "time_to_first_token_seconds",
    "streamed",
    "batch",
    "duration_seconds",
    *WHO,
    "environment",
    "service",
    "attributes",
)


#: Nobody who sends telemetry can know by which numbers tags are hashed, nor make different ones look alike.
_SEED = secrets.randbits(64)
#: Details that must fit into the whole they are a part of, and those wholes.
_FITTING = (
    "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens",
    "input_tokens", "output_tokens",
)  # fmt: skip


def merged(evidence: Evidence, leaves: Flags, stands: Flags, label: Ints, ancestry: Ancestry) -> tuple[Told, Flags]:
    """The calls that stand, with what their duplicates and ancestors know besides; and which rows stand just as they are.

    `label[i]` is the call that row i describes.
    """
    rows = np.flatnonzero(stands)
    counts = np.bincount(label[leaves], minlength=evidence.height)
    several = leaves & (counts[label] > 1)
    grouped = np.flatnonzero(several[rows])
    plain = np.zeros(evidence.height, dtype=bool)
    plain[rows] = leaves[rows] & ~several[rows] & ~evidence.narrow["cumulative"][rows]
    told = Told(evidence, rows)
    members = np.zeros(0, dtype=np.int64)
    if len(grouped):
        spoken = np.zeros(evidence.height, dtype=bool)
        spoken[label[rows[grouped]]] = True
        members = np.flatnonzero(several & spoken[label])
        _share(told, grouped, members, label, ancestry)
    learned = _inherit(told, members, label, ancestry)
    _correct(told)
    plain[rows[learned]] = False
    plain &= ~among(evidence.narrow["response"], _taken_back(evidence))
    as_posted(told)
    return told, plain


def as_posted(told: Told) -> None:
    """Let calls say what is posted of them: for whom their resource is where nobody is named, then whose account pays, and how
    much they sum up."""
    evidence, rows = told.evidence, told.rows
    for who, around in (*((who, f"resource_{who}") for who in WHO), ("tenant", "account_tenant"), ("project", "account_project")):
        known = evidence.knows(around)
        at = rows[:0] if known is None else np.flatnonzero(known[rows] & ~told.known(who))
        if len(at):
            told.say(who, at, evidence.take(rows[at], [around]).to_series())
    role = evidence.narrow["role"][rows]
    metered, summed = role == METRIC, (role == AGENT) | (role == SPAN)
    if evidence.knows("calls") is not None:
        summed |= (told.column("calls") > 1).fill_null(False).to_numpy()
    for at, granularity in ((np.flatnonzero(summed & ~metered), "aggregate"), (np.flatnonzero(metered), "metric")):
        if len(at):
            told.say("granularity", at, pl.Series([granularity]).new_from_index(0, len(at)))
    # A metric's point and the span of a batch may stand for many calls.
    one = np.flatnonzero(~told.known("calls"))
    if len(one):
        told.say("calls", one, pl.Series(np.ones(len(one), dtype=np.int64)))


def _share(told: Told, grouped: Ints, members: Ints, label: Ints, ancestry: Ancestry) -> None:
    """Let the calls at these places say what any record says that describes them: of several the one nearest to the call."""
    narrow = told.evidence.narrow
    precedence = narrow["precedence"][members]
    by = (narrow["entry"][members], lacking(precedence), -ancestry.depth(members), nearness(precedence), label[members])
    members = members[np.lexsort(by)]
    begins = firsts(label[members])
    group = np.searchsorted(label[members[begins]], label[told.rows[grouped]])
    place = np.arange(len(members))
    for name in MERGED:
        known = told.evidence.knows(name)
        if known is None:
            continue
        first = np.minimum.reduceat(np.where(known[members], place, len(members)), begins)[group]
        lent = ~known[told.rows[grouped]] & (first < len(members))
        if lent.any():
            told.take(name, grouped[lent], members[first[lent]])
    _share_tags(told, grouped, members, begins, group)
    _keep_consistent(told, grouped)


def _share_tags(told: Told, grouped: Ints, members: Ints, begins: Ints, group: Ints) -> None:
    """Own tags, and those that other records have under keys that are not taken."""
    tags = told.evidence.take(members, ["tags"])["tags"]
    tagged = np.flatnonzero((tags.list.len().fill_null(0) > 0).to_numpy())
    if not len(tagged):
        return
    which = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(members))))[tagged]
    members, first = members[tagged], firsts(which)
    own = np.full(told.evidence.height, -1)
    own[members] = which
    said = tags[pl.Series(tagged)].hash(_SEED).to_numpy()
    alike, some = np.ones(len(begins), dtype=bool), np.zeros(len(begins), dtype=np.int64)
    alike[which[first]] = np.minimum.reduceat(said, first) == np.maximum.reduceat(said, first)
    some[which[first]] = members[first]
    lacks = own[told.rows[grouped]] < 0
    any_tagged = np.isin(group, which)
    lent = np.flatnonzero(any_tagged & alike[group] & lacks)
    told.take("tags", grouped[lent], some[group[lent]])
    at = np.flatnonzero(any_tagged & ~alike[group])
    if not len(at):
        return
    more = np.isin(which, group[at])
    calls = pl.DataFrame({"at": at, "group": group[at]}).with_columns(told.evidence.take(told.rows[grouped[at]], ["tags"]))
    lending = told.evidence.take(members[more], ["tags"]).with_columns(pl.Series("group", which[more]))
    pairs = (
        pl.concat([calls.select("at", "tags"), lending.join(calls.select("group", "at"), on="group").select("at", "tags")])
        .explode("tags")
        .drop_nulls("tags")
        .unnest("tags")
        .unique(["at", "key"], keep="first", maintain_order=True)
        .group_by("at")
        .agg(pl.struct("key", "value").sort_by("key").alias("tags"))
    )
    told.say("tags", grouped[pairs["at"].to_numpy()], pairs["tags"])


def _keep_consistent(told: Told, grouped: Ints) -> None:
    """Details that were borrowed must fit into the whole they are a part of; lifetimes must add up to the cache writes."""
    counts = told.counts(_FITTING, grouped)
    read, write, five, one, thought, given, made = (counts[name][0] for name in _FITTING)
    _, _, has_five, has_one, has_thought, has_given, has_made = (counts[name][1] for name in _FITTING)
    fits = ~has_given | (read + write <= given)
    adds = fits & ((five + one == write) | ~(has_five | has_one))
    kept = (fits, fits, adds, adds, (thought <= made) | ~has_thought | ~has_made)
    for name, stays in zip(_FITTING, kept, strict=False):
        wrong = grouped[~stays & counts[name][1]]
        if len(wrong):
            told.take(name, wrong, np.full(len(wrong), -1))


def _inherit(told: Told, members: Ints, label: Ints, ancestry: Ancestry) -> Flags:
    """Whom calls are for and their model from the nearest ancestor of the call's own record, then of the others' records;
    and which calls learned something."""
    rows = told.rows
    learned = np.zeros(len(rows), dtype=bool)
    if not (ancestry.parent >= 0).any():
        return learned
    entry = told.evidence.narrow["entry"]
    lenders = members[np.lexsort((entry[members], label[members]))][::-1]
    for name in (*WHO, "model"):
        known = told.evidence.knows(name)
        if known is None:
            continue
        missing = np.flatnonzero(~told.known(name))
        source = ancestry.inherited(rows[missing], known)
        if name != "model" and len(lenders) and (source < 0).any():
            lent = np.full(len(label), -1, dtype=np.int64)
            found = ancestry.inherited(lenders, known)
            # The first lender is written last.
            lent[label[lenders[found >= 0]]] = found[found >= 0]
            source = np.where(source < 0, lent[label[rows[missing]]], source)
        given = source >= 0
        if given.any():
            learned[missing[given]] = True
            told.take(name, missing[given], source[given])
    return learned


def _taken_back(evidence: Evidence) -> npt.NDArray[np.uint64]:
    """Keys of responses that their provider says it does not bill after all."""
    narrow = evidence.narrow
    keys: npt.NDArray[np.uint64] = narrow["response"][(narrow["role"] == CORRECTION) & (narrow["response"] != 0)]
    return keys


def _correct(told: Told) -> None:
    """Let calls that their provider says it does not bill after all be calls still, without tokens."""
    evidence = told.evidence
    rows = np.flatnonzero(evidence.narrow["role"] == CORRECTION)
    if not len(rows):
        return
    corrections = evidence.take(rows, ["response_id", "error_type"]).drop_nulls("response_id").rename({"error_type": "why"})
    calls = told.columns(["response_id"]).join(
        corrections.unique("response_id"), on="response_id", how="left", maintain_order="left"
    )
    at = np.flatnonzero(calls["why"].is_not_null().to_numpy())
    for name in ("input_tokens", "output_tokens", *(name for name in MERGED if name.endswith("_tokens"))):
        counted = at[told.known(name)[at]]
        told.say(name, counted, pl.Series(np.zeros(len(counted), dtype=np.int64)))
    told.say("outcome", at, pl.Series(["error"]).new_from_index(0, len(at)))
    told.say("error_type", at, calls["why"].gather(pl.Series(at)))
    told.take("reported_cost_usd", at, np.full(len(at), -1))
