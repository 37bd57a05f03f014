"""Who sent calls, and in which voices: kept longer than what they sent, for as many emitters as are told apart."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from spanledger.collector.columns.chunks import Flags
from spanledger.collector.columns.keys import among, keys_of, mixed
from spanledger.collector.count.evidence import HEARD, LEAF, voice
from spanledger.collector.count.gone import Narrow
from spanledger.collector.recognise.shapes import alike

#: Of so many emitters, those that were heard last, it is known.
_MOST = 100_000


@dataclass(slots=True)
class Heard:
    """By emitter when it last sent a call (microseconds since 1970), and the voices in which it did."""

    last: dict[str, int] = field(default_factory=dict)
    voices: dict[str, set[str]] = field(default_factory=dict)
    #: key of an emitter and a voice that are known → the emitter
    _spoken: dict[int, str] = field(default_factory=dict)
    #: keys of the emitters that speak in several voices
    _talkative: set[int] = field(default_factory=set)

    def note(self, new: pl.DataFrame, narrow: Narrow) -> None:
        """Hear these records."""
        role = narrow["role"]
        speakers = np.flatnonzero(((role == LEAF) | (role == HEARD)) & (narrow["emitter"] != 0))
        # A record that only says who was heard is known by its id, and the voice is its name.
        spoken = mixed(narrow["emitter"], np.where(role == HEARD, narrow["entry"], narrow["voice"]))[speakers]
        first, _ = alike(spoken)
        spoken, speakers, unheard = spoken[first], speakers[first], []
        for place, (key, arrived) in enumerate(zip(spoken.tolist(), narrow["arrived"][speakers].tolist(), strict=True)):
            emitter = self._spoken.get(key)
            if emitter is None:
                unheard.append(place)
            else:
                self.last[emitter] = max(arrived, self.last[emitter])
        if not unheard:
            return
        speakers = speakers[unheard]
        speaking = pl.when(pl.col("role") == "heard").then("name").otherwise(voice()).alias("voice")
        said = new[["role", "name", "signal", "scope_name", "emitter", "arrived"]][pl.Series(speakers)]
        told = said.select("emitter", speaking, "arrived").iter_rows()
        for key, known, (emitter, said_in, arrived) in zip(
            spoken[unheard].tolist(), narrow["emitter"][speakers].tolist(), told, strict=True
        ):
            self._spoken[key] = emitter
            self.last[emitter] = max(arrived, self.last.get(emitter, 0))
            voices = self.voices.setdefault(emitter, set())
            voices.add(said_in or "")
            if len(voices) > 1:
                self._talkative.add(known)

    def talking(self, narrow: Narrow) -> Flags | None:
        """Which records are calls of emitters that speak in several voices; None if there are no such emitters."""
        if not self._talkative:
            return None
        calls: Flags = narrow["role"] == LEAF
        return calls & among(narrow["emitter"], np.fromiter(self._talkative, dtype=np.uint64))

    def let_go(self) -> None:
        """Forget those that were heard longest ago, beyond the bound."""
        if len(self.last) <= _MOST:
            return
        self.last = dict(sorted(self.last.items(), key=lambda each: each[1])[-_MOST:])
        self.voices = {emitter: voices for emitter, voices in self.voices.items() if emitter in self.last}
        self._spoken = {key: emitter for key, emitter in self._spoken.items() if emitter in self.last}
        talkative = [emitter for emitter, voices in self.voices.items() if len(voices) > 1]
        self._talkative = set(keys_of(pl.Series(talkative, dtype=pl.String)).tolist())
