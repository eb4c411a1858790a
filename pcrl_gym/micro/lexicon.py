"""The closed vocabulary of micro: categories, opposites, dictionaries, calendar."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("/") for pair in text.split())


# Plural name of a category -> its members. Every member belongs to one category only.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": tuple("cat dog horse cow pig sheep goat duck hen fox bear wolf".split()),
    "fruits": tuple("apple pear plum grape lemon peach cherry melon mango banana kiwi fig".split()),
    "colours": tuple(
        "red blue green yellow black white brown pink purple grey gold silver".split()
    ),
    "tools": tuple(
        "hammer saw drill rope ladder shovel rake axe brush needle wrench bucket".split()
    ),
    "clothes": tuple("hat coat shirt shoe sock scarf glove belt dress skirt jacket boot".split()),
    "vehicles": tuple("car bus train boat plane truck bike tram ship van taxi rocket".split()),
    "furniture": tuple(
        "table chair bed lamp sofa desk shelf stool mirror carpet bench clock".split()
    ),
}

# Singular noun phrase of a category, as in "is a pear a fruit?".
SINGULAR: dict[str, str] = {
    "animals": "animal",
    "fruits": "fruit",
    "colours": "colour",
    "tools": "tool",
    "clothes": "piece of clothing",
    "vehicles": "vehicle",
    "furniture": "piece of furniture",
}

# Nouns of no category: they make "not a fruit" wider than "one of the other categories".
THINGS: tuple[str, ...] = tuple(
    "book river music letter window garden bridge paper "
    "bottle cloud stone ring key flag bell coin".split()
)

NAMES: tuple[str, ...] = tuple(
    "Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nina Oscar Paul".split()
)
PLACES: tuple[str, ...] = tuple(
    "Paris London Rome Berlin Madrid Oslo Vienna Athens Dublin Prague Cairo Delhi".split()
)

OPPOSITES: tuple[tuple[str, str], ...] = tuple(
    _pairs(
        "hot/cold big/small fast/slow old/young happy/sad open/closed full/empty high/low "
        "light/dark rich/poor early/late hard/soft wet/dry near/far clean/dirty strong/weak "
        "long/short thick/thin loud/quiet good/bad"
    ).items()
)

FRENCH: dict[str, str] = _pairs(
    "cat/chat dog/chien horse/cheval cow/vache bear/ours wolf/loup apple/pomme pear/poire "
    "lemon/citron cherry/cerise red/rouge blue/bleu green/vert black/noir white/blanc chair/chaise "
    "bed/lit mirror/miroir car/voiture boat/bateau plane/avion shirt/chemise hat/chapeau key/clef"
)

SPANISH: dict[str, str] = _pairs(
    "cat/gato dog/perro horse/caballo cow/vaca bear/oso wolf/lobo apple/manzana pear/pera "
    "lemon/limón cherry/cereza red/rojo blue/azul green/verde black/negro white/blanco chair/silla "
    "bed/cama mirror/espejo car/coche boat/barco plane/avión shirt/camisa hat/sombrero key/llave"
)

DICTIONARIES: dict[str, dict[str, str]] = {"French": FRENCH, "Spanish": SPANISH}

PLURALS: dict[str, str] = _pairs(
    "cat/cats dog/dogs horse/horses cow/cows duck/ducks wolf/wolves fox/foxes apple/apples "
    "cherry/cherries peach/peaches hammer/hammers brush/brushes hat/hats dress/dresses car/cars "
    "bus/buses boat/boats chair/chairs shelf/shelves bench/benches book/books key/keys "
    "river/rivers letter/letters"
)

NUMBER_WORDS: tuple[str, ...] = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty".split()
)
ORDINALS: tuple[str, ...] = tuple("first second third fourth fifth".split())

DAYS: tuple[str, ...] = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
MONTHS: tuple[str, ...] = tuple(
    "January February March April May June July August September October November December".split()
)

CATEGORY_OF: dict[str, str] = {
    word: name for name, members in CATEGORIES.items() for word in members
}
ITEMS: tuple[str, ...] = (*CATEGORY_OF, *THINGS)
