"""The grammar, in the notation of the ``lark`` library (LALR).

The operators bind as in C (assumed). A statement may be an expression alone: a recorded evaluation of one
name complains about the name, not about the form. Assumed where the documentation is silent: a semicolon
after the last statement is optional, empty statements are refused, numbers have no exponent, a string stands
in double quotes on one line without escapes, and comments run from ``//`` to the end of the line. Vectors
cannot be written out, because no documented formula does so; ``vec(1, 2)`` makes one.
"""

GRAMMAR = r"""
start: statement (";" statement)* ";"?
?statement: NAME "=" expression -> assign
          | expression
?expression: either
           | either QUESTION expression ":" expression -> choice
?either: both
       | either OR both -> binary
?both: equality
     | both AND equality -> binary
?equality: order
         | equality (EQ | NE) order -> binary
?order: sum
      | order (LE | GE | LT | GT) sum -> binary
?sum: product
    | sum (PLUS | MINUS) product -> binary
?product: signed
        | product (STAR | SLASH) signed -> binary
?signed: postfix
       | (MINUS | NOT) signed -> unary
?postfix: atom
        | postfix "." NAME -> member
        | postfix "." NAME LPAR [arguments] ")" -> method
?atom: NUMBER -> number
     | STRING -> text
     | NAME -> name
     | NAME LPAR [arguments] ")" -> call
     | "(" expression ")"
arguments: expression ("," expression)*

QUESTION: "?"
OR: "||"
AND: "&&"
EQ: "=="
NE: "!="
LE: "<="
GE: ">="
LT: "<"
GT: ">"
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
NOT: "!"
LPAR: "("
NAME: /\$?[A-Za-z_][A-Za-z0-9_]*/
NUMBER: /[0-9]+(\.[0-9]+)?/
STRING: /"[^"\r\n]*"/
COMMENT: /\/\/[^\r\n]*/
SPACE: /[ \t\r\n]+/
%ignore COMMENT
%ignore SPACE
"""
