rule included:
    output:
        "included.txt",
    script:
        "../scripts/one.py"
