"""A model that was trained in Python, as a folder that a site loads and `medulla model eval` judges.

    medulla model features --data cinc2019_A_dev.csv.zst --out features.csv
    python3 model_from_python.py features.csv cinc2019_A_dev.csv.zst models/mine
    medulla model eval --model models/mine --data cinc2019_B_dev.csv.zst

Needs xgboost, pandas and zstandard. It shows the files' form; a model for patients needs more care than this one got.
"""
import hashlib, json, os, sys
import numpy as np, pandas as pd, xgboost as xgb

features_file, data_file, folder = sys.argv[1:]
table = pd.read_csv(features_file, dtype={"pid": str})
names = list(table.columns[2:])
truth = pd.read_csv(data_file, usecols=["pid", "ICULOS", "SepsisLabel"], dtype={"pid": str})
table = table.merge(truth.rename(columns={"ICULOS": "hour"}), on=["pid", "hour"])
X, y = table[names].to_numpy(np.float32), table["SepsisLabel"].to_numpy()

# Whole patients train or choose. Buckets 70 to 79 stay out of both, so that `eval --held-out` may judge by them.
bucket = {p: int(hashlib.sha256(f"cinc2019:{p}".encode()).hexdigest()[:8], 16) % 100 for p in table["pid"].unique()}
bucket = table["pid"].map(bucket).to_numpy()
trains, chooses, judges = bucket < 60, (60 <= bucket) & (bucket < 70), (70 <= bucket) & (bucket < 80)

matrix = lambda rows: xgb.DMatrix(X[rows], label=y[rows], feature_names=names)
booster = xgb.train(
    {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 2},
    matrix(trains), 200, evals=[(matrix(chooses), "chooses")], early_stopping_rounds=20, verbose_eval=20)
booster = booster[: booster.best_iteration + 1]  # else golden rows of all trees would be those of another model

# The threshold by F1, on patients who did not train; from twice that risk on an alert may interrupt.
risk = booster.predict(matrix(chooses))
limits = np.unique(np.quantile(risk, np.linspace(0.5, 0.999, 200)))
f1 = [2 * y[chooses][risk >= limit].sum() / (y[chooses].sum() + (risk >= limit).sum()) for limit in limits]
threshold = float(limits[int(np.argmax(f1))])

# Golden rows: invented, nobody's values. Each column for itself, a fifth of them missing.
random = np.random.default_rng(2019)
low, high = np.nan_to_num(np.nanquantile(X[trains], [0.01, 0.99], axis=0))
golden = random.uniform(low, high, (20, len(names))).astype(np.float32)
golden[random.random(golden.shape) < 0.2] = np.nan
asked = xgb.DMatrix(golden, feature_names=names)
margins, risks = booster.predict(asked, output_margin=True), booster.predict(asked)
parts = booster.predict(asked, pred_contribs=True)
plain = lambda row: [None if np.isnan(value) else float(value) for value in row]
rows = [{"features": plain(golden[i]), "margin": float(margins[i]), "probability": float(risks[i]),
         "contributions": plain(parts[i])} for i in range(len(golden))]

# Figures that nobody has computed are left out; `medulla model eval --held-out` says them all.
figures = {"patients": 0, "septic_patients": 0, "rows": 0, "alarm_rows": 0}
card = {
    "format": 1, "name": "sepsis-python", "task": "sepsis",
    "predicts": "Risk that the challenge's label is set in this hour of an intensive-care stay.",
    "intended_use": "An example of the form. For nobody's care.",
    "setting": "intensive care", "population": "adults",
    "must_not_claim": ["that it diagnoses sepsis or rules it out"],
    "limits": ["one hospital, thresholds not checked anywhere else"],
    "features": [{"name": name, "unit": "1"} for name in names],
    "threshold": {"value": threshold, "metric": "F1", "chosen_on": "buckets 60 to 69"},
    "interruptive_threshold": {"value": min(1.0, 2 * threshold), "metric": "twice the watch list's", "chosen_on": "nothing"},
    "calibration": {"method": "none"},
    "training_data": {
        "description": "PhysioNet/CinC Challenge 2019 v1.0.0", "licence": "CC BY 4.0",
        "citation": "Reyna MA et al., Crit Care Med 48(2):210-217 (2020)",
        "files": [{"name": os.path.basename(data_file), "sha256": hashlib.sha256(open(data_file, "rb").read()).hexdigest()}],
        "patients": int(table["pid"][trains | chooses].nunique()), "rows": int((trains | chooses).sum()),
        "split": "buckets 0 to 59 train, 60 to 69 choose, 70 to 79 take no part", "held_out": True,
    },
    "held_out": figures, "clock_rule": figures, "subgroups": [],
}

os.makedirs(folder, exist_ok=True)
booster.save_model(os.path.join(folder, "model.ubj"))
for name, what in [("card.json", card), ("golden.json", {"made_by": f"xgboost {xgb.__version__}", "rows": rows})]:
    with open(os.path.join(folder, name), "w") as file:
        json.dump(what, file, indent=1)
