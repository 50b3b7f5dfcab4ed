"""The control door of the town: make a platform deliver, ask for its statement, switch faults on. I/O: HTTP in."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.profile_drop import PartOutOfOrderError
from hub.sandbox.platforms.site import Platform
from hub.sandbox.reports import Oracle, Reports


class Deliver(BaseModel):
    """Make one platform tell the hub everything of one part of the month."""

    model_config = ConfigDict(extra="forbid", strict=True)

    platform: str
    part: int = Field(ge=1)


class Misbehave(BaseModel):
    """Show one fault at one platform so many times."""

    model_config = ConfigDict(extra="forbid")

    platform: str
    fault: Fault
    times: int = Field(default=1, ge=0, le=1000)


def control_app(platforms: Mapping[str, Platform], reports: Reports) -> FastAPI:
    """Return the application of the control port. It has no key: it is for the loopback only."""
    app = FastAPI(title="Town control", openapi_url=None, docs_url=None, redoc_url=None)
    locks = {name: asyncio.Lock() for name in platforms}

    def named(platform: str) -> Platform:
        if platform not in platforms:
            raise HTTPException(404, f"the platforms are {', '.join(platforms)}")
        return platforms[platform]

    @app.post("/control/deliver")
    async def deliver(order: Deliver) -> dict[str, Any]:
        platform = named(order.platform)
        if order.part > reports.town.parts:
            raise HTTPException(422, f"the month has {reports.town.parts} parts")
        async with locks[order.platform]:  # two deliveries of one platform at once would mix up its own order
            try:
                tally = await platform.deliver(order.part)
            except PartOutOfOrderError as error:
                raise HTTPException(409, str(error)) from error
        return {"platform": order.platform, "part": order.part, **asdict(tally), "statement": platform.book.statement()}

    @app.get("/control/statement")
    def statement(platform: str, part: int | None = None) -> dict[str, Any]:
        return {"platform": platform, **named(platform).book.statement(part)}

    @app.post("/control/faults")
    def misbehave(order: Misbehave) -> dict[str, Any]:
        faults = named(order.platform).faults
        faults.arm(order.fault, order.times)
        return {"platform": order.platform, "armed": faults.armed()}

    @app.get("/control/oracle")
    def oracle(parts: int | None = None) -> dict[str, Any]:
        return dict(Oracle(reports, parts).summary())

    @app.get("/control/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    return app
