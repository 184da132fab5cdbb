"""Updates of device lists that refer to others which never came: then the whole list is fetched."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from federation.network import Network, eventually
from federation.test_receive import hosted


async def test_a_gap_has_the_list_fetched(network: Network) -> None:
    _, alice, eve = await hosted(network)
    path = f"/_matrix/federation/v1/user/devices/{eve.user_id}"
    asked: list[str] = []

    async def devices(request: web.Request) -> web.Response:
        asked.append(request.path)
        told = [{"device_id": "A", "keys": {}}, {"device_id": 5}, "nonsense"]
        return web.json_response({"user_id": eve.user_id, "stream_id": 30, "devices": told})

    eve.fake.routes["GET", path] = devices

    async def update(stream_id: int, *prev_ids: int) -> None:
        content: dict[str, Any] = {"user_id": eve.user_id, "device_id": "A", "stream_id": stream_id}
        await eve.send(edus=[{"edu_type": "m.device_list_update", "content": {**content, "prev_id": list(prev_ids)}}])

    await alice.sync()
    await update(5)
    await update(6, 5)
    await update(7, 5, 6)
    assert asked == []
    assert (await alice.sync())["device_lists"]["changed"] == [eve.user_id]
    await update(20, 19)
    await eventually(lambda: asked == [path])
    await eventually(lambda: not eve.host.homeserver.background.running.count("device-list"))
    # Whatever lies before what the list told is known by now.
    await update(31, 25, 30)
    assert asked == [path]


async def test_nothing_is_fetched_for_strangers(network: Network) -> None:
    _, _, eve = await hosted(network)
    for stream_id, prev_id in ((1, 0), (9, 8)):
        content = {"user_id": "@stranger:eve.test", "device_id": "A", "stream_id": stream_id, "prev_id": [prev_id]}
        await eve.send(edus=[{"edu_type": "m.device_list_update", "content": content}])
    assert not [one for one in eve.fake.asked if "/user/devices/" in one]
