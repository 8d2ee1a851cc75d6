from mtmedformer_monai.data.public.task_classes import classes_of


def test_tasks_without_classes_are_omitted():
    assert classes_of(["lung", "finding"]) == {"finding": ["normal", "pneumonia"]}
