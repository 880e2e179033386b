"""RecBole's SASRec, one epoch at a time on request: the peer of training.py, run by the peer's own interpreter.

Reads one word a line from standard input, ``train`` or ``evaluate``, and answers each with one line of JSON.
"""

import json
import sys
import time
import warnings

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

for old_name, meaning in (("bool8", np.bool_), ("float_", np.float64), ("complex_", np.complex128)):
    if not hasattr(np, old_name):  # names that RecBole 1.2.1 still uses
        setattr(np, old_name, meaning)


def main(data_path: str, threads: int, dropout: float) -> None:
    """Serve requests until standard input ends. ``data_path`` holds ``office/office.inter``."""
    answers, sys.stdout = sys.stdout, sys.stderr  # RecBole prints
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    torch.set_num_threads(threads)
    settings = {
        "data_path": data_path,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "MAX_ITEM_LIST_LENGTH": 10,
        "use_gpu": False,
        "hidden_size": 128,
        "inner_size": 128,
        "n_layers": 2,
        "n_heads": 1,
        "hidden_act": "relu",
        "loss_type": "CE",
        "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout,
        "train_batch_size": 256,
        "eval_batch_size": 4096,
        "learning_rate": 1e-3,
        "train_neg_sample_args": None,
        "metrics": ["Hit", "NDCG"],
        "topk": [10, 20],
        "valid_metric": "NDCG@20",
        "show_progress": False,
        "worker": 0,
        "save_dataset": False,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
    }
    config = Config(model="SASRec", dataset="office", config_dict=settings)
    init_seed(0, True)
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    model = SASRec(config, train.dataset)
    trainer = Trainer(config, model)
    epoch = 0
    for line in sys.stdin:
        started = time.perf_counter()
        if line.strip() == "train":
            trainer._train_epoch(train, epoch, show_progress=False)
            epoch += 1
            answer = {"rows": len(train.dataset), "seconds": time.perf_counter() - started}
        else:
            result = trainer.evaluate(valid, load_best_model=False)
            answer = {"rows": len(valid.dataset), "seconds": time.perf_counter() - started, "ndcg": result["ndcg@20"]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
