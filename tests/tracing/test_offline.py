"""A probe never waits for a network, and leaves the user's own setting as it was."""

from __future__ import annotations

import pytest

from bufaudit.tracing.offline import offline

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.mark.parametrize("before", [False, True])
def test_the_hub_is_out_of_reach_inside_only(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", before)
    with offline(), pytest.raises(OfflineModeIsEnabled):
        get_session().get("https://huggingface.co/api/models")
    assert constants.HF_HUB_OFFLINE is before
