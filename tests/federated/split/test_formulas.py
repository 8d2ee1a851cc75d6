from mtmedformer_monai.federated.split import formulas

LOAD = formulas.Load(epochs=3, images=10, tokens=4, width=8, unify_every=5)


def test_by_hand():
    assert formulas.fedavg(100) == 200
    assert formulas.festa(LOAD, 100) == 4 * 3 * 10 * 4 * 8 + 2 * 100 / 5
    assert formulas.p_festa(LOAD) == 2 * 3 * 10 * 4 * 8
    assert formulas.p_festa(LOAD, 50) == formulas.p_festa(LOAD) + 20
    assert formulas.p_festa_once(LOAD) == 10 * 4 * 8
    assert formulas.fesvibs(LOAD, 100) == 2 * 3 * 10 * 5 * 8 + 40
    assert formulas.task_agnostic(100) == 200
