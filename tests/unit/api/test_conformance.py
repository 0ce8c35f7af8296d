"""The models judge the conformance table's documents as the table says.

The same table is judged by a real API server in tests/e2e/test_crd_conformance.py.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from notifications_operator.api.messages import describe_validation_error
from notifications_operator.api.notification import Notification
from notifications_operator.api.processor import NotificationProcessor
from tests.support.conformance import Case, load_cases

MODELS = {"Notification": Notification, "NotificationProcessor": NotificationProcessor}


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_model_judges_as_the_table_says(case: Case) -> None:
    model = MODELS[case.kind]
    if case.model_accepts:
        model.model_validate(case.manifest)
        return
    with pytest.raises(ValidationError) as caught:
        model.model_validate(case.manifest)
    if case.hides is not None:
        assert case.hides not in describe_validation_error(caught.value)


def test_table_is_well_formed() -> None:
    cases = load_cases()
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert bool(case.messages) != case.accepted, f"{case.id}: a refusal has a message"
    assert sum(case.because is not None for case in cases) == 5
