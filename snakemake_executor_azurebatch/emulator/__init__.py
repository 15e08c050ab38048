"""A local Azure Batch service: the data plane on 127.0.0.1, with a node agent that really runs tasks.

    server, __main__     socket, certificate (tls), Azurite (blob_proxy before it), ready file, orderly end
    app                  the pipeline of one request
    routes               the table of all operations; what is not emulated answers 501 NotEmulated
    auth, schema, odata  SharedKey and tokens, bodies against the SDK's models, $filter
    handlers             one function per operation
    state, model         all that is remembered, as plain data
    engine*, placement   what happens next: events in, instructions out, no I/O, no clock
    runtime              carries instructions out and feeds back what happened
    persistence, pickling, watched
                         the state on disk: what was known is known again, however the service ended
    clock, simulation, faultinjection, admin (and its client: control), testing
                         what makes it good for tests
    agent                runs tasks
    programs             runs other programs: Node.js, container engines

It shares no code with the client side of this package, so that one misreading of the service cannot hide
in both.

``operations`` lists which operations are served and which are refused (501), and collects what the modules
list under "Assumed": what the service's behaviour is taken to be where that is not known for sure.
"""
