"""Prompts that differ in one constraint, whose answer flips, differ in it after compression."""

from __future__ import annotations

import re

import pytest

import models
from policies import compressor

TOKENIZER = models.gpt2_tokenizer()
# Policies that drop whatever they may, and some that choose words at random.
POLICIES = [
    *(compressor(TOKENIZER, max_units=48, unit=unit, bias=-20.0) for unit in ("token", "word")),
    *(compressor(TOKENIZER, max_units=48, seed=seed, unit="word") for seed in (1, 2)),
    compressor(TOKENIZER, max_units=48, seed=3, whole_words=True),
]

# A prompt with a gap, and what stands in it in one and in the other: with both the answer differs.
PAIRS = [
    ("Could you please list fruits that are {} sweet, if that is fine with you?", "not", ""),
    ("These animals {} fly at night, so which of them would you call birds?", "can't", "can"),
    ("I would like to have all of the words that {} contain a vowel, thank you", "don’t", "do"),
    ("Write a story for my little daughter {} a dragon in it, please", "without", "with"),
    ("Please name the planets that have {} moons, as far as it is known", "no", "many"),
    ("Say which of these drinks people {} mix with milk in the morning", "never", "always"),
    ("Tell me about colors that are {} red nor green in this picture", "neither", "both"),
    ("Give me {} the final result of the calculation, kindly", "only", "also"),
    ("Sort all the words {} the last one of this list of mine", "except", "and"),
    ("Translate the letter {} it is in French, my dear friend", "unless", "because"),
    ("Please name {} three rivers of the continent of Europe", "at most", "at least"),
    ("Describe the city in {} than fifty words, dear assistant", "no more", "more"),
    ("Describe the city in {} fifty words, dear assistant", "exactly", "about"),
    ("The answer {} contain the name of the author of the book", "must", "may"),
    ("The answer {} contain the name of the author of the book", "must not", "must"),
    ("In your reply {} the name of the author of the book", "avoid", "use"),
    ("In this summary {} give away the end of the film to anyone", "do not", "do"),
    ("You {} talk about the weather on that day in the report", "should not", "should"),
    ("Please return the list of all the cities as {} for my program", "JSON", "YAML"),
    ("Please return the list of all the cities as {} for my program", "CSV", "XML"),
    ("Please write down the rules of the game in {} for us", "Markdown", "plain text"),
    ("Please write down the rules of the game as {} for us", "bullet points", "a table"),
    ("Write the whole answer in {} letters for the poster, please", "uppercase", "lowercase"),
    ("Write the whole answer in {} for the poster, please", "title case", "all caps"),
    ("Explain how a bicycle works in {} to my grandmother", "three sentences", "five sentences"),
    ("Explain how a bicycle works {} to my grandmother", "in 5 words", "in 9 words"),
    ("Explain how a bicycle works {} to my grandmother", "under 100 words", "over 100 words"),
    ("I would love to get {} about trains from you today", "two paragraphs", "one paragraph"),
    ("Make it a {} essay about the life of bees in summer", "500-word", "900-word"),
    ("Tell me what is going on in this picture {} right now", "in English", "in French"),
    ("Kindly translate the following greeting {} for me", "into German", "into Polish"),
    ("Answer {} what the capital of Australia is, would you", "in Japanese", "in Korean"),
    ("Write about cats and mention {} somewhere in the text", '"blue"', '"green"'),
    ("Write about cats and include the phrase {} somewhere", "'so it goes'", "'here we are'"),
    ("Write about cats, and please say “{}” at some point", "purr", "meow"),
    ("Please put all of the names in {} order for the index", "alphabetical", "reverse"),
    ("Please put all the numbers in {} order for the index", "ascending", "descending"),
    ("Tell me the story and {} with a question of yours", "start", "end"),
    ("Write this little poem for us {} any commas in it", "without", "with"),
    ("Answer that question of mine with {} and leave it there", "yes or no", "true or false"),
    ("{} the question before you answer it for the class, please", "Repeat", "Skip"),
    ("Bitte nenne mir Tiere, die {} fliegen können, mein Freund", "nicht", "gern"),
    ("Bitte nenne mir {} die Hauptstadt dieses schönen Landes", "nur", "auch"),
    ("Donne-moi des animaux qui ne volent {} dans le ciel", "pas", "que"),
    ("Écris une histoire {} dragon pour mes enfants ce soir", "sans", "avec"),
    ("Dime los animales que {} vuelan de noche, por favor", "no", "sí"),
    ("Dime {} el nombre de la capital de este país", "solo", "hoy"),
    ("Dimmi gli animali che {} volano di notte, per favore", "non", "poi"),
    ("Scrivi una storia {} draghi per i bambini stasera", "senza", "con"),
    ("Diga os animais que {} voam de noite, por favor", "não", "já"),
    ("Diga {} o nome da capital deste país, por favor", "apenas", "agora"),
    ("Noem de dieren die {} vliegen in de nacht, alsjeblieft", "niet", "wel"),
    ("Noem {} de hoofdstad van dit land, alsjeblieft", "alleen", "nu"),
    ("Podaj zwierzęta, które {} latają w nocy, proszę", "nie", "często"),
    ("Podaj {} stolicę tego kraju, bardzo proszę cię", "tylko", "teraz"),
    ("请列出{}会飞的动物好吗谢谢你", "不", "也"),
    ("请{}说出这个国家的首都谢谢你", "只", "先"),
    ("夜に飛ば{}動物を教えてくださいお願いします", "ない", "せる"),
    ("この国の首都{}教えてくださいお願いします", "だけ", "から"),
]


def test_there_are_enough_pairs_and_no_two_are_the_same():
    assert len(PAIRS) >= 40
    assert len({(prompt, *pair) for prompt, *pair in PAIRS}) == len(PAIRS)
    assert all(first != second for _, first, second in PAIRS)


@pytest.mark.parametrize(("prompt", "first", "second"), PAIRS)
def test_two_prompts_still_differ_in_the_constraint(prompt: str, first: str, second: str):
    prompts = [prompt.format(first), prompt.format(second)]
    for reader in POLICIES:
        one, other = (done.text for done in reader(prompts, rate=0.9, protect="constraints"))
        assert holds(one, first)
        assert not holds(other, first)


def holds(text: str, constraint: str) -> bool:
    """Whether a text has a constraint, in scripts with spaces as whole words."""
    whole = constraint[0].isalnum() and constraint[0] < "\u3000"
    edges = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
    return bool(re.search(re.escape(constraint).join(edges), text))


def test_without_protection_constraints_are_lost():
    """The test above is none of policies that keep them anyway."""
    kept = [
        holds(reader(prompt.format(first), rate=0.9).text, first)
        for prompt, first, _ in PAIRS
        for reader in POLICIES
    ]
    assert sum(kept) < 0.25 * len(kept)


@pytest.mark.parametrize(
    "text",
    [
        "Could you kindly help me with the following, as I am a bit lost here?",
        "I hope you are well. Thank you so much in advance for your time!",
        "The Amazon river flows through Peru, Colombia and Brazil.",
        "notable knots, nonfiction and exceptional onlyness",
    ],
)
def test_other_words_are_free(text: str):
    assert POLICIES[0](text, protect="constraints").text == ""


def test_constraints_join_what_else_is_kept():
    text = "Please pay Ms Smith at most 12 euros, but never in cash"
    done = POLICIES[0](text, protect="constraints", force_keep=["Smith"], keep_digits=True)
    assert done.text == " Smith at most 12 euros, never "
