"""Sentences that people might say to a service robot, by emotion: a small labelled set to measure the gain of text.

The maintainers wrote it for this purpose, before any sentence was scored and without regard to a lexicon; as with
people, many sentences do not show the emotion. It is not a sample of real speech, so its results are indications.
Even rows serve to fit, odd rows to test.
"""

from __future__ import annotations

import numpy as np

from emotion_perception.emotions import EMOTIONS

UTTERANCES: dict[str, tuple[str, ...]] = {
    "neutral": (
        "Where do I find the batteries?",
        "I would like to return this jacket.",
        "Is the bakery on the second floor?",
        "We need two tickets for the five o'clock train.",
        "Can you tell me when you close today?",
        "I have an appointment at half past ten.",
        "Please print the receipt.",
        "My name is Miller, I called yesterday.",
        "Does this lamp come in white?",
        "I'll take the blue one.",
        "Which gate does the flight to Rome leave from?",
        "How much is a litre of milk?",
    ),
    "calm": (
        "Take your time, there is no hurry.",
        "It's fine, I can wait here.",
        "No problem, whenever you are ready.",
        "I'm just looking around, thanks.",
        "We can do that later, it doesn't matter.",
        "All right, that works for me.",
        "It is nice and quiet in here.",
        "Let's go through it step by step.",
        "I'm in no rush at all.",
        "Good, then we'll leave it at that.",
        "I'll sit down here for a while.",
        "Yes, that is okay with me.",
    ),
    "happy": (
        "This is exactly what I was looking for, thank you so much!",
        "What a lovely present, my daughter will love it.",
        "You have been really helpful, great service.",
        "We won! Can you believe it?",
        "I'm so glad you found it.",
        "Oh, it fits perfectly!",
        "Today is my birthday, and everybody came.",
        "That was the best meal I have had in weeks.",
        "Look, they even wrapped it for free!",
        "I got the job, I start on Monday!",
        "It's wonderful to see you again.",
        "Ha, that's a good one, tell me another.",
    ),
    "sad": (
        "My grandmother died last week, and I need something black.",
        "It was the last picture I had of her, and now it is gone.",
        "I don't think he is coming back.",
        "We have to give the dog away.",
        "I miss the old place so much.",
        "They closed the shop where I worked for twenty years.",
        "Nobody came to the party.",
        "I had hoped it could still be repaired.",
        "It just isn't the same without them.",
        "She cried the whole way home.",
        "I lost my wallet, and there was a letter in it from my son.",
        "I feel so alone here since she left.",
    ),
    "angry": (
        "This is the third time it has broken, I want my money back!",
        "I have been standing here for forty minutes and nobody cares!",
        "Are you kidding me? That is not what I ordered.",
        "Your colleague lied to me on the phone.",
        "This is outrageous, get me the manager right now!",
        "I am sick of being sent from one desk to the next.",
        "You charged me twice, and now you won't even answer!",
        "Stop telling me to calm down!",
        "How dare you talk to me like that?",
        "I told you three times already what I need.",
        "That stupid machine ate my card again.",
        "What kind of a service is this supposed to be?",
    ),
    "fearful": (
        "Please hurry, I cannot find my little boy anywhere!",
        "There is a man following me, can you call somebody?",
        "Is it safe to go down there?",
        "I'm scared of the operation tomorrow.",
        "Did you hear that? Something is wrong with the lift.",
        "What if they don't let me on the plane?",
        "I think I am having a heart attack.",
        "Don't leave me alone in here.",
        "It smells of smoke, we have to get out!",
        "My hands are shaking, I can't do this.",
        "What was that noise?",
        "I'm worried that the results are bad.",
    ),
    "disgusted": (
        "There is a hair in my soup.",
        "This meat smells rotten.",
        "The toilets are filthy, I would not let a dog in there.",
        "Ugh, take that away from me.",
        "The sheets have stains all over them.",
        "I nearly threw up when I opened the box.",
        "There are worms in these apples.",
        "Who would ever eat something like that?",
        "The milk has gone sour and lumpy.",
        "The whole corridor stinks of old fish.",
        "He wiped his nose and then touched the bread.",
        "That is revolting.",
    ),
    "surprised": (
        "Wow, I did not expect that at all!",
        "What, it is free today?",
        "You can talk?",
        "No way, you remembered my name!",
        "Since when is there a cinema in here?",
        "Wait, is that really the price?",
        "Oh! I thought you were closed on Sundays.",
        "Seriously? All of them are sold out?",
        "I had no idea that this was here.",
        "Are you telling me I won?",
        "Goodness, where did you come from so suddenly?",
        "That was quick, I only ordered it this morning!",
    ),
}


def utterances(odd: bool) -> tuple[list[str], np.ndarray]:
    """Half of the sentences, and the index of the emotion of each."""
    rows = [(text, EMOTIONS.index(name)) for name, texts in UTTERANCES.items() for text in texts[int(odd) :: 2]]
    return [text for text, _ in rows], np.array([label for _, label in rows], dtype=np.int64)
