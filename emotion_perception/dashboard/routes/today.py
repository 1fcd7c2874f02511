"""The Today view: figures of a day, week or month, alerts and their rules, and what may be kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from aiohttp import web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.routes.common import json_body, required
from emotion_perception.dashboard.sources import OWN, Statistics
from emotion_perception.dashboard.today import Phrase, Span, fill, span_of, today_fields
from emotion_perception.interaction.alerts import read_alerts, read_rules, write_rules
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.rules import COMPARISONS, MEASURES, PERIODS, Rule, RuleError, rules_from_items
from emotion_perception.interaction.storage_choice import StorageChoice
from emotion_perception.interaction.store_records import MAX_PAGE, ConversationQuery, ConversationStatistics

NO_PLACES = "there are no places; set conversations_directory or other_places"
EVIDENCE = 5  # conversations named behind a suggestion
NOT_STORED = "conversations are not stored; choose on the Today page what may be kept, or set conversations_directory"


class TodayRoutes:
    """``/api/today``, ``/api/rules`` and ``/api/storage``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/today", self._today),
            web.get("/api/rules", self._rules),
            web.put("/api/rules", self._change_rules),
            web.get("/api/storage", self._storage),
            web.put("/api/storage", self._choose_storage),
        ]

    @property
    def _store(self) -> ConversationStore:
        return required(self._parts.archive, NOT_STORED)

    async def _today(self, request: web.Request) -> web.Response:
        span, place = requested_span(request), request.query.get("source", OWN)
        if place != OWN:
            source = await asyncio.to_thread(required(self._parts.places, NO_PLACES).source, place)
            answer = await asyncio.to_thread(statistics_answer, source.statistics, span, time.time(), source.lines)
            return web.json_response({**answer, "place": source.name})
        return web.json_response(await asyncio.to_thread(today_answer, self._store, span, time.time()))

    async def _rules(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(_rules_answer, self._store))

    async def _change_rules(self, request: web.Request) -> web.Response:
        rules = rules_from_items((await json_body(request)).get("rules"))
        await asyncio.to_thread(write_rules, self._store.folder, rules)
        return web.json_response(await asyncio.to_thread(_rules_answer, self._store))

    async def _storage(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._storage_answer))

    async def _choose_storage(self, request: web.Request) -> web.Response:
        choose = required(self._parts.choose_storage, "what is kept is set by the parameters of the nodes")
        fields = await json_body(request)
        choice = StorageChoice(fields.get("keep_numbers", False), fields.get("retention_days", 90))
        await asyncio.to_thread(choose, choice)
        return web.json_response(await asyncio.to_thread(self._storage_answer))

    def _storage_answer(self) -> dict[str, Any]:
        file = self._parts.choice
        return {
            "stored": self._parts.archive is not None,
            "can_choose": file is not None and self._parts.choose_storage is not None,
            **asdict(StorageChoice() if file is None else file.read()),
        }


def requested_span(request: web.Request) -> Span:
    """The day, week or month that the query names by ``kind`` and ``date``; today by default.

    Raises:
        ValueError: it names none.
    """
    text = request.query.get("date", "")
    try:
        day = date.fromisoformat(text) if text else date.today()
    except ValueError:
        raise ValueError(f"date {text[:20]!r} is no date; write 2026-11-27") from None
    return span_of(request.query.get("kind", "day"), day)


def statistics_answer(
    source: Statistics, span: Span, now: float, lines: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What the view shows of a span at any place, without alerts; ``lines``: conversations behind the suggestions."""

    def statistics(start: float, end: float) -> ConversationStatistics:
        return source.period(_moment(start), _moment(end))

    def parts_of(one: Span) -> list[ConversationStatistics | None]:
        if one.kind == "day":
            return fill(one.parts, source.hours(_moment(one.start), _moment(one.end)))
        return [found if (found := statistics(*part)).conversations else None for part in one.parts]

    answer = today_fields(span, now, parts_of(span), parts_of(span.earlier), statistics)
    for phrase in answer["suggestions"]:
        part = answer["parts"][phrase["part"]]
        within = [one for one in lines if part["start"] <= one["start"] < part["end"]]
        phrase["conversations"] = _evidence(phrase, within)
    return {**answer, "alerts": []}


def today_answer(store: ConversationStore, span: Span, now: float) -> dict[str, Any]:
    """All that the view shows of a span, with its alerts and the conversations behind the suggestions."""
    answer = statistics_answer(store, span, now)
    for phrase in answer["suggestions"]:
        part = answer["parts"][phrase["part"]]
        query = ConversationQuery(start=_moment(part["start"]), end=_moment(part["end"]), sort="worst", limit=MAX_PAGE)
        phrase["conversations"] = _evidence(phrase, store.page(query).conversations)
    alerts = [asdict(alert) for alert in read_alerts(store.folder) if span.start <= alert.start < span.end]
    return {**answer, "alerts": alerts[::-1]}


def _evidence(phrase: Phrase, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversations that show most clearly what a suggestion says; without ``id`` where they cannot be opened."""
    measured, sign = ("wait", -1) if phrase["key"] == "suggest.wait" else ("score", 1)
    known = [one for one in found if one[measured] is not None]
    known.sort(key=lambda one: (sign * one[measured], -one["start"]))
    return [{key: one.get(key) for key in ("id", "start", "score", "wait")} for one in known[:EVIDENCE]]


def _rules_answer(store: ConversationStore) -> dict[str, Any]:
    problem, rules = "", tuple[Rule, ...]()
    try:
        rules = read_rules(store.folder)
    except RuleError as error:
        problem = str(error)
    return {
        "rules": [asdict(rule) for rule in rules],
        "problem": problem,  # of a file that somebody edited by hand
        "measures": {measure: unit for measure, (unit, _) in MEASURES.items()},
        "comparisons": COMPARISONS,
        "periods": PERIODS,
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
