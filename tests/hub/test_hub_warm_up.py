from hub.warm_up import warm_up


def test_warming_up_really_translates_and_clears():
    assert warm_up() == 18
