def title(word):
    return word.title()
