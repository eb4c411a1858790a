"""The closed vocabulary of micro: categories, opposites, dictionaries, calendar."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("/") for pair in text.split())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Plural name of a category -> its members. Every member belongs to exactly one category.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": _words("cat dog horse cow pig sheep goat duck hen fox bear wolf"),
    "fruits": _words("apple pear plum grape lemon peach cherry melon mango banana kiwi fig"),
    "colours": _words("red blue green yellow black white brown pink purple grey gold silver"),
    "tools": _words("hammer saw drill rope ladder shovel rake axe brush needle wrench bucket"),
    "clothes": _words("hat coat shirt shoe sock scarf glove belt dress skirt jacket boot"),
    "vehicles": _words("car bus train boat plane truck bike tram ship van taxi rocket"),
    "furniture": _words("table chair bed lamp sofa desk shelf stool mirror carpet bench clock"),
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

# Nouns without a category: they make "not a fruit" broader than "in one of the other categories".
THINGS = _words(
    "book river music letter window garden bridge paper bottle cloud stone ring key flag bell coin"
)

NAMES = _words(
    "Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nina Oscar Paul"
)
PLACES = _words("Paris London Rome Berlin Madrid Oslo Vienna Athens Dublin Prague Cairo Delhi")

OPPOSITES: tuple[tuple[str, str], ...] = tuple(
    _pairs(
        "hot/cold big/small fast/slow old/young happy/sad open/closed full/empty high/low "
        "light/dark rich/poor early/late hard/soft wet/dry near/far clean/dirty strong/weak "
        "long/short thick/thin loud/quiet good/bad"
    ).items()
)

FRENCH = _pairs(
    "cat/chat dog/chien horse/cheval cow/vache bear/ours wolf/loup apple/pomme pear/poire "
    "lemon/citron cherry/cerise red/rouge blue/bleu green/vert black/noir white/blanc chair/chaise "
    "bed/lit mirror/miroir car/voiture boat/bateau plane/avion shirt/chemise hat/chapeau key/clef"
)

SPANISH = _pairs(
    "cat/gato dog/perro horse/caballo cow/vaca bear/oso wolf/lobo apple/manzana pear/pera "
    "lemon/limón cherry/cereza red/rojo blue/azul green/verde black/negro white/blanco chair/silla "
    "bed/cama mirror/espejo car/coche boat/barco plane/avión shirt/camisa hat/sombrero key/llave"
)

DICTIONARIES: dict[str, dict[str, str]] = {"French": FRENCH, "Spanish": SPANISH}

PLURALS = _pairs(
    "cat/cats dog/dogs horse/horses cow/cows duck/ducks wolf/wolves fox/foxes apple/apples "
    "cherry/cherries peach/peaches hammer/hammers brush/brushes hat/hats dress/dresses car/cars "
    "bus/buses boat/boats chair/chairs shelf/shelves bench/benches book/books key/keys "
    "river/rivers letter/letters"
)

NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
ORDINALS = _words("first second third fourth fifth")

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words(
    "January February March April May June July August September October November December"
)

CATEGORY_OF: dict[str, str] = {
    word: name for name, members in CATEGORIES.items() for word in members
}
ITEMS: tuple[str, ...] = (*CATEGORY_OF, *THINGS)
