"""The built-in data set: small, made in a moment, and with something to learn.

A shop of 20 categories of 4 series of 5 items. A title says what the item is (words of its category), whose (the name
of its series), and more words that mean nothing. A user moves from item to item: into the series of the last one, to
another series of its category, on to the category after it, or anywhere; popular items draw more. So the last item
matters more than those before it, the order of two items matters, and most pairs of items occur too seldom to be
counted, while the pairs of their words do not: what reads titles can beat what knows only ids.
"""

import numpy as np

NAME = "synthetic"
SEED = 20_260_101

USERS = 1_200
CATEGORIES = (
    "green tea leaves", "desk lamp light", "running shoes sport", "guitar strings music", "face cream skin",
    "puzzle board game", "kitchen knife steel", "dog food chicken", "garden hose water", "phone case cover",
    "baby bottle milk", "camera lens glass", "notebook paper ruled", "coffee beans roast", "yoga mat foam",
    "bike helmet safety", "wall clock silent", "shampoo hair care", "cotton towel bath", "drill bit metal",
)  # fmt: skip
SERIES = 4
SERIES_ITEMS = 5
ITEMS = len(CATEGORIES) * SERIES * SERIES_ITEMS
MODELS = 120
ATTRIBUTES = (
    "black", "white", "small", "large", "classic", "premium", "soft", "bright", "natural", "compact", "original",
    "extra", "pack", "set", "new", "blue", "red", "light", "strong", "pure", "travel", "family", "mini", "deluxe",
    "value", "fresh", "smooth", "slim", "double", "easy", "quick", "gentle", "heavy", "warm", "cool", "bold",
)  # fmt: skip
SYLLABLES = ("ba", "cor", "del", "fi", "gra", "ho", "jun", "ka", "lum", "mi", "nor", "pel", "ri", "sol", "tev", "vo")

TO_SERIES, TO_CATEGORY, TO_NEXT_CATEGORY, ANYWHERE = 0.2, 0.3, 0.4, 0.1
"""Chances of where a step leads, before items already met are taken out."""
SHORTEST, LONGEST, GOES_ON = 5, 40, 0.75
"""Interactions a user has at least and at most; chance that a user past the least goes on."""
START, SPREAD, PAUSE = 1.5e9, 63_072_000.0, 1_209_600.0
"""First moment (unix seconds); two years; two weeks."""


def titles(seed: int) -> list[str]:
    """Titles of items 1 to ITEMS; items of one series, and series of one category, stand side by side."""
    random = np.random.default_rng([seed, 0])
    names = _made_up_names(random, len(CATEGORIES) * SERIES, syllables=3)
    models = _made_up_names(random, MODELS, syllables=2)
    texts = []
    for item in range(ITEMS):
        series = item // SERIES_ITEMS
        kind = random.choice(CATEGORIES[series // SERIES].split(), 2, replace=False)
        how = random.choice(ATTRIBUTES, 2, replace=False)
        model = models[random.integers(MODELS)]
        texts.append(f"{names[series].title()} {' '.join([*kind, *how])} {model.upper()}")
    return texts


def interactions(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users (int64, from 0), items (int32, from 1) and times (float64 seconds), as `interactions` has them.

    All users walk at once, one step at a time; nobody meets an item twice. They begin at any time of the first
    `SPREAD` seconds and take `PAUSE` seconds a step on average, so that a cut in time finds users of every age.
    """
    random = np.random.default_rng([seed, 1])
    pull = _pull(random)
    lengths = np.minimum(SHORTEST - 1 + random.geometric(1 - GOES_ON, USERS), LONGEST)
    met = np.zeros((USERS, ITEMS), bool)
    last = _draw(np.broadcast_to(_popularity(random), (USERS, ITEMS)), random)
    clock = np.random.default_rng([seed, 2])
    now = START + np.floor(clock.uniform(0, SPREAD, USERS))
    users, items, times = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    walking = np.arange(USERS)
    for step in range(LONGEST):
        if step:
            walking = walking[lengths[walking] > step]
            last = last[lengths[users[-1]] > step]
            last = _draw(pull[last] * ~met[walking], random)
            now[walking] += 1 + np.floor(clock.exponential(PAUSE, len(walking)))
        met[walking, last] = True
        users.append(walking)
        items.append(last + 1)
        times.append(now[walking])
    return np.concatenate(users), np.concatenate(items).astype(np.int32), np.concatenate(times)


def _made_up_names(random: np.random.Generator, count: int, syllables: int) -> list[str]:
    """``count`` different words."""
    base = len(SYLLABLES)
    picks = random.choice(base**syllables, count, replace=False)
    return ["".join(SYLLABLES[pick // base**place % base] for place in range(syllables)) for pick in picks]


def _popularity(random: np.random.Generator) -> np.ndarray:
    """(ITEMS,) weights that fall as 1 / rank inside a category, in an order of their own."""
    per_category = SERIES * SERIES_ITEMS
    ranks = random.permuted(np.tile(np.arange(per_category), (len(CATEGORIES), 1)), axis=1)
    return (1.0 / (ranks + 3)).ravel()


def _pull(random: np.random.Generator) -> np.ndarray:
    """(ITEMS, ITEMS) weights: how strongly each item leads to each other one; rows sum to 1."""
    series = np.arange(ITEMS) // SERIES_ITEMS
    category = series // SERIES
    after = (category + 1) % len(CATEGORIES)
    popularity = _popularity(random)
    pull = np.zeros((ITEMS, ITEMS))
    for chance, reached in (
        (TO_SERIES, series[:, None] == series),
        (TO_CATEGORY, category[:, None] == category),
        (TO_NEXT_CATEGORY, after[:, None] == category),
        (ANYWHERE, np.ones((ITEMS, ITEMS), bool)),
    ):
        weights = reached * popularity
        pull += chance * weights / weights.sum(axis=1, keepdims=True)
    return pull


def _draw(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One column a row, with chances proportional to ``weights``."""
    sums = np.cumsum(weights, axis=1)
    place_N: np.ndarray = (sums <= random.random((len(weights), 1)) * sums[:, -1:]).sum(axis=1)
    return place_N
