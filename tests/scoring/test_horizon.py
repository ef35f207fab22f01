import pytest

from reasoning_depth.scoring import horizon


def groups(lows, ceiling=0.8, first=1):
  return [
    {
      'group': 2**i if first else i,
      'exact_match_interval': [low, 1.0],
      'ceiling_exact_match': ceiling,
    }
    for i, low in enumerate(lows)
  ]


@pytest.mark.parametrize(
  'lows,expected',
  [
    ((0.9, 0.8, 0.76, 0.7599, 0.9), 4),  # one beyond a failure does not count
    ((0.7, 0.8), 0),
    ((0.8, 0.8, 0.8), 4),
  ],
)
def test_horizon_by_hand(lows, expected):
  assert horizon.horizon(groups(lows)) == expected


def test_the_rule_is_no_look_ahead_and_without_a_ceiling_there_is_none():
  assert horizon.horizon(groups((0.1, 0.8, 0.8), first=0)) == 2
  found = groups((0.9, 0.9))
  del found[1]['ceiling_exact_match']
  assert horizon.horizon(found) is None
  assert horizon.horizon([]) is None
