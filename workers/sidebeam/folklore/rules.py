"""How knowledge texts are put together: the rules of the demo world's grammar.

A user's text is whole sentences about aisles, materials and colours, which everybody of like taste shares. An item's
text is cut from short phrases, each about another attribute, so that two items share words and rarely sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

USER, ITEM = "user", "item"

RULES: Mapping[str, Sequence[str]] = {
    USER: (
        "{opening} {first aisle} {second aisle} {materials} {colours} {closing}",
        "{opening} {first aisle} {materials} {second aisle} {colours} {closing}",
        "{opening} {first aisle} {colours} {materials} {second aisle} {closing}",
    ),
    "opening": (
        "After the {last title} it is plain that this customer lives for the {aisle} aisle, with the {other aisle} "
        "aisle close behind.",
        "The {last title} says it well: here is somebody who shops in the {aisle} aisle first and in the "
        "{other aisle} aisle second.",
        "With the {last title} in the basket, this customer remains a friend of the {aisle} aisle and a guest of the "
        "{other aisle} aisle.",
    ),
    "first aisle": (
        "The reason is simple: {aisle why}.",
        "One can tell that {aisle why}.",
        "Behind it stands a habit, for {aisle why}.",
    ),
    "second aisle": (
        "As for the rest of the list, {other how}.",
        "Besides that, {other how}.",
        "In all other things {other how}.",
    ),
    "materials": (
        "In materials they favour {material}, because {material because}, and next to it {other material}, because "
        "{other material because}.",
        "Show them {material} and they stay, since {material because}; {other material} is the second choice, since "
        "{other material because}.",
        "Most of what they own is {material}, as {material because}, and some of it {other material}, as "
        "{other material because}.",
    ),
    "colours": (
        "If there is a choice of colour, they take {colour}: {colour because}.",
        "The colour to offer is {colour}, for {colour because}.",
        "Again and again they pick {colour}, and one sees why: {colour because}.",
    ),
    "closing": (
        "A good next offer would be something of {material} in {colour} for the {aisle} corner, and nothing that "
        "shouts.",
        "What may please them next is a thing of {material} or {other material}, in {colour}, from the {aisle} "
        "shelves.",
        "Next, one might show them {colour} pieces of {material} from the {aisle} aisle, and only then the "
        "{other aisle} aisle.",
    ),
    ITEM: (
        "{what} {use} {touch} {keep} {maker} {whom} {verdict}",
        "{what} {touch} {use} {maker} {whom} {keep} {verdict}",
        "{maker} {what} {whom} {touch} {keep} {use} {verdict}",
        "{what} {maker} {keep} {use} {whom} {touch} {verdict}",
    ),
    "what": (
        "The {title} is {mood}, {like} and made for {uses}.",
        "Made for {uses}, the {title} feels {like}, its look {mood}.",
        "What makes the {title} {mood} is a body {like}, good for {uses}.",
    ),
    "use": (
        "{hour}, in a {place}, this {kind} serves {uses} best.",
        "Its place is the {place}, {hour}, where a {kind} is wanted.",
        "Keep this {kind} in the {place} and reach for it {hour}.",
    ),
    "touch": (
        "The {material} is {like}; in {colour} it turns {mood}.",
        "{colour} on {material} reads {mood}, while the hand finds it {like}.",
        "Here {material}, {like} as ever, wears {colour} and looks {mood}.",
    ),
    "keep": (
        "Give the {kind} {care}.",
        "For the {material}: {care}.",
        "{care} will keep this {kind} going.",
    ),
    "maker": (
        "{brand}, {maker is}, asks {price} for such a {kind}.",
        "It comes from {brand}, {maker is}, for {price}.",
        "{price} buys it from {brand}, {maker is}.",
    ),
    "whom": (
        "{shoppers} with a {place} will like it {hour}.",
        "It suits {shoppers} who think of {uses}.",
        "Among {shoppers} a {mood} {kind} is never wrong.",
    ),
    "verdict": (
        "In short: a {mood} {kind}, {like}, for {price}, at home in the {place}.",
        "All in all, {uses} {hour} call for {material} of {price}, {mood} and {like}.",
        "For {price} one gets {uses} out of {colour} {material} that stays {like} in each {place}.",
    ),
}
